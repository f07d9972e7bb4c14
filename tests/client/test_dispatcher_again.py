"""A dispatcher that has ended can be run again, as a loop does that goes on after a failure."""

from __future__ import annotations

import asyncio

import pytest
from dispatching import registered, start
from rig import Rig
from waiting import GIVE_UP, block_until, until

import zart
from zart.testing.server import ServerUnderTest


async def test_run_again_it_runs_plain_steps_and_tells_that_it_is_ready(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, told = zart.Task("t"), list[bool]()
    task.step(name="a", retry=zart.Retry(max_attempts=1))(lambda _: "done")
    dispatcher = zart.Dispatcher([task], address=zart_server.address, on_readiness=told.append)
    for n in range(3):
        stop = asyncio.Event()
        running = asyncio.create_task(dispatcher.run(stop))
        handle = await start(rig, task, execution_id=f"x{n}")
        assert await handle.result(timeout=GIVE_UP) == "done"
        stop.set()
        await running
        assert not any(dispatcher.figures()[1:])
    assert told == [True, False] * 3


async def test_what_a_run_has_left_in_a_thread_is_nothing_to_the_next(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, is_at_work = zart.Task("t"), False

    @task.step(name="a")
    def stubborn(ctx: zart.StepContext) -> str:
        nonlocal is_at_work
        if ctx.execution_id == "x":
            is_at_work = True
            block_until(lambda: not is_at_work)
        return "done"

    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([task], address=zart_server.address, lease=600.0, concurrency=1)
    running = asyncio.create_task(dispatcher.run(stop))
    await start(rig, task)
    await until(lambda: is_at_work)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    running = asyncio.create_task(dispatcher.run(stop))
    other = await start(rig, task, execution_id="y")
    assert await other.result(timeout=GIVE_UP) == "done"
    is_at_work = False
    last = await start(rig, task, execution_id="z")
    assert await last.result(timeout=GIVE_UP) == "done"
    stop.set()
    await running
    assert await rig.statuses() == {"a": "RUNNING"}


async def test_while_it_runs_it_is_not_run_beside_that(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, stop = zart.Task("t"), asyncio.Event()
    task.step(name="a")(lambda _: "done")
    dispatcher = zart.Dispatcher([task], address=zart_server.address)
    running = asyncio.create_task(dispatcher.run(stop))
    await registered(rig, "t")
    with pytest.raises(RuntimeError, match="runs already"):
        await asyncio.wait_for(dispatcher.run(stop), GIVE_UP)
    handle = await start(rig, task)
    assert await handle.result(timeout=GIVE_UP) == "done"
    stop.set()
    await running
