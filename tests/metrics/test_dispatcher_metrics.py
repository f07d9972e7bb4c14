"""What a dispatcher tells Prometheus of what it has in hand."""

from __future__ import annotations

import asyncio
import time

import grpc
from between import Between, Refusal
from dispatching import start
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.dispatcher.metrics import OfTheDispatcher
from zart.testing.server import ServerUnderTest


def told(dispatcher: zart.Dispatcher) -> dict[str, float]:
    """Return the value of each of its series."""
    families = OfTheDispatcher(dispatcher).collect()
    return {family.name: family.samples[0].value for family in families}


async def test_one_that_is_cut_off_tells_how_long_its_oldest_outcome_has_waited(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """However often it is sent again, and though there are few: it leases no more."""
    task, stop, is_open = zart.Task("t"), asyncio.Event(), False
    task.step(name="a")(lambda _: "done")

    def refuse(method: str, _request: bytes) -> Refusal | None:
        is_refused = method == "ReportTasks" and not is_open
        return Refusal(grpc.StatusCode.UNAVAILABLE) if is_refused else None

    name = "zart_dispatcher_oldest_outcome_age_seconds"
    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address)
        assert told(dispatcher)[name] == 0
        began = time.monotonic()
        running = asyncio.create_task(dispatcher.run(stop))
        try:
            handle = await start(rig, task)
            await until(lambda: proxy.refused["ReportTasks"] > 0)
            sent = time.monotonic()
            await until(lambda: proxy.refused["ReportTasks"] > 2)
            looked = time.monotonic()
            found = told(dispatcher)
            assert found["zart_dispatcher_outcomes_waiting"] == 1
            assert looked - sent <= found[name] <= time.monotonic() - began
            is_open = True
            assert await handle.result(timeout=GIVE_UP) == "done"
            await until(lambda: told(dispatcher)[name] == 0)
        finally:
            is_open = True
            stop.set()
            await running


async def test_one_that_is_refused_is_not_ready_and_one_that_stops_is(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """First its tasks, then each call for more; in the end it finishes what it has in hand."""
    task, stop, refused = zart.Task("t"), asyncio.Event(), "RegisterTask"
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    @task.step()
    async def a(_ctx: zart.StepContext) -> None:
        has_begun.set()
        await may_end.wait()

    def refuse(method: str, _request: bytes) -> Refusal | None:
        return Refusal(grpc.StatusCode.PERMISSION_DENIED) if method == refused else None

    name = "zart_dispatcher_ready"
    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address)
        assert told(dispatcher)[name] == 0
        running = asyncio.create_task(dispatcher.run(stop))
        try:
            await until(lambda: proxy.refused["RegisterTask"] > 1)
            assert told(dispatcher)[name] == 0
            refused = "LeaseTasks"
            await until(lambda: proxy.refused["LeaseTasks"] > 1)
            assert told(dispatcher)[name] == 0
            refused = ""
            await until(lambda: told(dispatcher)[name] == 1)
            await start(rig, task)
            await asyncio.wait_for(has_begun.wait(), GIVE_UP)
            stop.set()
            await until(lambda: dispatcher._readiness._has_ended)
            assert told(dispatcher)[name] == 1
        finally:
            refused = ""
            may_end.set()
            stop.set()
            await running
        assert told(dispatcher)[name] == 0
