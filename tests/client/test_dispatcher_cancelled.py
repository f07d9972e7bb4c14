"""A dispatcher that is cancelled, or fails, leaves nothing at work: nobody extends leases for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from rig import Rig
from waiting import block_until, for_ever, until

import zart
from zart.dispatcher.stopping import unless
from zart.testing.server import ServerUnderTest


class AtWork:
    """A task with an async and a plain step, which tell when they begin and when they are broken off."""

    def __init__(self) -> None:
        self.task = zart.Task("t")
        self.begun: set[str] = set()
        self.broken_off: set[str] = set()
        self.tasks = asyncio.all_tasks()

        @self.task.step(name="async")
        async def endless(ctx: zart.StepContext) -> None:
            self.begun.add(ctx.step_name)
            try:
                await for_ever()
            finally:
                self.broken_off.add(ctx.step_name)

        @self.task.step(name="plain")
        def stubborn(ctx: zart.StepContext) -> None:
            self.begun.add(ctx.step_name)
            block_until(lambda: ctx.cancelled)
            self.broken_off.add(ctx.step_name)

    async def begin(self, rig: Rig) -> None:
        """Have both at work."""
        await rig.client.register_task("t", self.task.specs)
        await rig.client.start("t", execution_id="x")
        await until(lambda: len(self.begun) == 2)

    async def is_over(self, rig: Rig) -> None:
        """Wait until nothing of the dispatcher goes on; see that it has told nobody."""
        await until(lambda: self.broken_off == {"async", "plain"})
        await until(lambda: asyncio.all_tasks() <= self.tasks)
        assert await rig.statuses() == {"async": "RUNNING", "plain": "RUNNING"}


async def test_cancelled_it_breaks_off_what_is_at_work_and_leaves_its_leases_to_end(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    work = AtWork()
    told: list[bool] = []
    dispatcher = zart.Dispatcher(
        [work.task], address=zart_server.address, lease=600.0, on_readiness=told.append
    )
    running = asyncio.create_task(dispatcher.run(asyncio.Event()))
    await work.begin(rig)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await work.is_over(rig)
    assert told == [True, False]


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_it_ends_after_what_it_has_cancelled_has_cleaned_up(
    rig: Rig, zart_server: ServerUnderTest, way: str
) -> None:
    """What follows may end the loop, or close a pool that steps use."""
    task = zart.Task("t")
    begun: list[str] = []
    clean: list[str] = []

    def is_told() -> bool:
        return all(each.get_name() != "reporter" for each in asyncio.all_tasks())

    @task.step()
    async def cleans_up(ctx: zart.StepContext) -> None:
        begun.append(ctx.step_name)
        try:
            await for_ever()
        finally:
            await until(is_told)  # the dispatcher itself has nothing left to do
            clean.append(ctx.step_name)

    await rig.client.register_task("t", task.specs)
    await rig.client.start("t", execution_id="x")
    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([task], address=zart_server.address, grace=0)
    running = asyncio.create_task(dispatcher.run(stop))
    await until(lambda: begun)
    stop.set() if way == "stop" else running.cancel()
    await asyncio.wait([running])
    assert clean == begun
    assert running.cancelled() == (way == "cancel")


async def test_it_waits_no_longer_than_a_moment_for_what_does_not_end(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    may_end = asyncio.Event()
    at_work: list[asyncio.Task[Any] | None] = []

    @task.step()
    async def stubborn(_ctx: zart.StepContext) -> None:
        at_work.append(asyncio.current_task())
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    await rig.client.register_task("t", task.specs)
    await rig.client.start("t", execution_id="x")
    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([task], address=zart_server.address, grace=0)
    running = asyncio.create_task(dispatcher.run(stop))
    await until(lambda: at_work)
    stop.set()
    await running
    (left,) = at_work
    assert left is not None
    assert not left.done()
    may_end.set()
    await asyncio.wait([left])


@pytest.mark.parametrize("fails_at", [True, False])
async def test_it_breaks_off_where_who_is_told_of_its_readiness_fails(
    rig: Rig, zart_server: ServerUnderTest, *, fails_at: bool
) -> None:
    work = AtWork()
    stop = asyncio.Event()

    def tell(is_ready: bool) -> None:  # noqa: FBT001 - as the dispatcher calls it
        if is_ready is fails_at:
            raise LookupError("nobody to tell")

    dispatcher = zart.Dispatcher(
        [work.task], address=zart_server.address, lease=600.0, on_readiness=tell
    )
    running = asyncio.create_task(dispatcher.run(stop))
    if not fails_at:
        await work.begin(rig)
        stop.set()
    with pytest.raises(LookupError):
        await running
    if not fails_at:
        await work.is_over(rig)
    await until(lambda: asyncio.all_tasks() <= work.tasks)
    assert stop.is_set() is not fails_at


async def test_cancelled_before_any_server_is_there_it_leaves_no_task_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = AtWork()
    dispatcher = zart.Dispatcher([work.task], address="127.0.0.1:9")
    running = asyncio.create_task(dispatcher.run(asyncio.Event()))
    await until(lambda: caplog.records)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: asyncio.all_tasks() <= work.tasks)


@pytest.mark.parametrize("turns", range(5))
async def test_a_pause_that_a_stop_ends_can_be_cancelled_at_any_moment(turns: int) -> None:
    stop = asyncio.Event()
    pausing = asyncio.create_task(unless(stop, for_ever()))
    await asyncio.sleep(0)
    stop.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    is_under_way = not pausing.done()
    pausing.cancel()
    await asyncio.wait({pausing})
    assert pausing.cancelled() == is_under_way
