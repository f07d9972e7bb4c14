"""Plain handlers in threads: all are brought back, and a wait that is cancelled can go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from client.no_threads import no_more_threads
from waiting import GIVE_UP, until

import zart
from zart.dispatcher.threads import NotBegun, Threads


async def test_every_call_is_brought_back_with_what_became_of_it() -> None:
    def handler(ctx: zart.StepContext) -> int:
        if ctx.attempt % 7 == 0:
            raise KeyError(ctx.attempt)
        return ctx.attempt

    with closing(Threads(8)) as threads:
        for size in (1, 1, 2000, 1):
            calls = [threads.start(handler, zart.testing.context(attempt=n)) for n in range(size)]
            async with asyncio.timeout(GIVE_UP):
                for call in calls:
                    await call.wait()
            for n, call in enumerate(calls):
                assert isinstance(call.error, KeyError) if n % 7 == 0 else call.result == n


async def test_a_wait_that_is_cancelled_leaves_the_call_be() -> None:
    gate = threading.Event()
    with closing(Threads(1)) as threads:
        call = threads.start(lambda _: gate.wait(GIVE_UP), zart.testing.context())
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


class AtWork:
    """A handler that is at work until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self, _: zart.StepContext) -> None:
        self.thread = threading.current_thread()
        self.gate.wait(GIVE_UP)

    def has_left(self) -> bool:
        """Return whether its thread has ended, having done what was queued for it."""
        return self.thread is not None and not self.thread.is_alive()


async def test_what_no_thread_can_be_started_for_is_called_by_none_that_is_free_later() -> None:
    work, called = AtWork(), list[str]()
    with closing(Threads(2)) as threads:
        call = threads.start(work, zart.testing.context())
        await until(lambda: work.thread)
        with no_more_threads(), pytest.raises(NotBegun, match="can't start new thread"):
            threads.start(lambda _: called.append("in vain"), zart.testing.context())
        work.gate.set()
        async with asyncio.timeout(GIVE_UP):
            await call.wait()
        await until(work.has_left)
        last = threads.start(lambda _: called.append("last"), zart.testing.context())
        async with asyncio.timeout(GIVE_UP):
            await last.wait()
    assert called == ["last"]


async def test_each_call_has_a_thread_of_its_own_also_after_the_limit_was_met() -> None:
    """A pool counts a thread too many as idle where it finds a call that was taken back."""
    first, second = AtWork(), AtWork()
    with closing(Threads(3)) as threads:
        threads.start(first, zart.testing.context())
        await until(lambda: first.thread)
        with no_more_threads(), pytest.raises(NotBegun):
            threads.start(AtWork(), zart.testing.context())
        quick = threads.start(lambda _: None, zart.testing.context())
        async with asyncio.timeout(GIVE_UP):
            await quick.wait()
        threads.start(second, zart.testing.context())
        await until(lambda: second.thread)
        last = threads.start(lambda _: "ran", zart.testing.context())
        try:
            async with asyncio.timeout(GIVE_UP / 2):
                await last.wait()
        finally:
            first.gate.set()
            second.gate.set()
    assert last.result == "ran"


class TooLate(ThreadPoolExecutor):
    """Says that it can start no thread once one has done the work: as where one was free then."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        super().submit(function, *args, **kwargs).result(GIVE_UP)
        raise RuntimeError("can't start new thread")


async def test_what_a_thread_has_called_is_not_taken_back() -> None:
    with closing(Threads(1)) as threads, TooLate(1) as pool:
        threads._pool = pool
        call = threads.start(lambda _: "ran", zart.testing.context())
        async with asyncio.timeout(GIVE_UP):
            await call.wait()
    assert call.result == "ran"
