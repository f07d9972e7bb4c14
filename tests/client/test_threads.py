"""Plain handlers in threads: all are brought back, and a wait that is cancelled can go on."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from waiting import GIVE_UP

import zart
from zart.dispatcher.threads import Threads


async def test_every_call_is_brought_back_with_what_became_of_it() -> None:
    def handler(ctx: zart.StepContext) -> int:
        if ctx.attempt % 7 == 0:
            raise KeyError(ctx.attempt)
        return ctx.attempt

    with ThreadPoolExecutor(8) as pool:
        threads = Threads(pool)
        for size in (1, 1, 2000, 1):
            calls = [threads.start(handler, zart.testing.context(attempt=n)) for n in range(size)]
            async with asyncio.timeout(GIVE_UP):
                for call in calls:
                    await call.wait()
            for n, call in enumerate(calls):
                assert isinstance(call.error, KeyError) if n % 7 == 0 else call.result == n


async def test_a_wait_that_is_cancelled_leaves_the_call_be() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        call = Threads(pool).start(lambda _: gate.wait(GIVE_UP), zart.testing.context())
        for _ in range(2):
            waiting = asyncio.create_task(call.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        assert not call.has_ended
        gate.set()
        async with asyncio.timeout(GIVE_UP):
            await call.wait()
    assert call.result is True


async def test_what_is_made_of_a_result_is_made_in_the_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        call = Threads(pool).start(
            lambda _: "result",
            zart.testing.context(),
            lambda result: (result, threading.current_thread()),
        )
        async with asyncio.timeout(GIVE_UP):
            await call.wait()

    result, thread = call.result
    assert result == "result"
    assert thread is not threading.current_thread()
