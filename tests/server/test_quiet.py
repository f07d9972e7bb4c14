"""A server that stops waits for those who have not been told yet, and not for ever."""

from __future__ import annotations

import asyncio

from waiting import GIVE_UP

from zart_server.api.limits import Limits

METHOD = "/zart.v1.AdminService/Pause"


async def test_it_waits_while_calls_come_in_and_then_no_longer() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(0.03))
    room, calls = limits.room_for(METHOD), 0
    loop = asyncio.get_running_loop()
    told = loop.time() + 0.08  # two notices and a half
    while loop.time() < told:
        room.enter()
        room.leave()
        calls += 1
        await asyncio.sleep(0)
        assert not waiting.done() or calls == 0
    await waiting

    assert calls > 0


async def test_it_does_not_wait_for_ever() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(0.01))
    room = limits.room_for(METHOD)
    while not waiting.done():
        room.enter()
        room.leave()
        await asyncio.sleep(0)


async def test_who_waits_by_design_holds_up_nobody() -> None:
    limits = Limits(10, 10)
    waiting = asyncio.create_task(limits.until_quiet(60))
    waiting.cancel()
    quick = asyncio.create_task(limits.until_quiet(0.0))
    limits.room_for("/zart.v1.DispatchService/LeaseTasks").enter()
    await asyncio.wait_for(quick, GIVE_UP)
