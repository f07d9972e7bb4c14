"""A server that stops waits for those who have not been told yet, and not for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from streaming import Stream
from waiting import GIVE_UP

from zart.channel import aio_channel
from zart.testing.server import serving
from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api.limits import Limits

METHOD = "/zart.v1.AdminService/Pause"
EXTEND = pb.ExtendLeasesRequest(dispatcher_id="d")


async def test_it_waits_while_calls_come_in_and_then_no_longer() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(0.03))
    calls = 0
    loop = asyncio.get_running_loop()
    told = loop.time() + 0.08  # two notices and a half
    while loop.time() < told:
        limits.enter(METHOD).leave()
        calls += 1
        await asyncio.sleep(0)
        assert not waiting.done() or calls == 0
    await waiting

    assert calls > 0


async def test_it_does_not_wait_for_ever() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(0.01))
    while not waiting.done():
        limits.enter(METHOD).leave()
        await asyncio.sleep(0)


@pytest.fixture
def for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server wait for so long, while calls that count come in, that a test gives up."""
    monkeypatch.setattr("zart_server.api.limits.MOST_NOTICES", 10**6)


@pytest.mark.usefixtures("for_hours")
@pytest.mark.parametrize("method", ["ReportTasks", "ExtendLeases", "GetStepResults"])
async def test_what_a_dispatcher_tells_of_its_work_holds_up_nobody(method: str) -> None:
    """It does so over the connection that it has, until that ends: however long this waits."""
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(0.01))
    async with asyncio.timeout(GIVE_UP):
        while not waiting.done():
            limits.enter(f"/zart.v1.DispatchService/{method}").leave()
            await asyncio.sleep(0)


@pytest.mark.usefixtures("for_hours")
async def test_what_comes_within_a_stream_holds_up_nobody(zart_database: str) -> None:
    """Nobody sends it here anew: a dispatcher is told where to go once the notice is over."""
    stack = contextlib.ExitStack()
    server = stack.enter_context(serving(zart_database, drain_notice=0.5))
    async with aio_channel(server.address) as channel:
        stream = Stream(channel)
        await stream.ask(extend=EXTEND)
        stopping = asyncio.create_task(asyncio.to_thread(stack.close))
        async with asyncio.timeout(GIVE_UP):
            while 0 not in stream.told:
                await stream.ask(extend=EXTEND)
        await stream.call.done_writing()
        await stopping


async def test_who_waits_by_design_holds_up_nobody() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(60))
    waiting.cancel()
    quick = asyncio.create_task(limits.until_quiet(0.0))
    limits.enter("/zart.v1.DispatchService/LeaseTasks")
    await asyncio.wait_for(quick, GIVE_UP)
