"""A step that ended within its time is told so, though the event loop learns of both ends at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, block_until, until

import zart
from zart.calls.call import span
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.threads import Threads
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb


def fails() -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(lambda: 1, "completed"), (fails, "failed"), (lambda: asyncio.sleep(0), "timed_out")],
    ids=["returns", "raises", "returns what is to be awaited"],
)
@pytest.mark.parametrize("once", [True, False], ids=["once", "again"])
async def test_what_a_thread_has_told_stands(
    end: Callable[[], Any], outcome: str, *, once: bool
) -> None:
    task, told = zart.Task("t"), list[str | None]()
    has_begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @task.step(once=once)
    def charge(_: zart.StepContext) -> Any:
        loop.call_soon_threadsafe(has_begun.set)
        may_end.wait(GIVE_UP)
        return end()

    def tell(_: InHand, what: pb.TaskOutcome) -> None:
        told.append(what.WhichOneof("outcome"))

    (in_hand,) = in_hand_of([pb.LeasedTask(timeout=span(60), lease_ttl=span(30))], loop.time())
    with closing(Threads(1)) as threads:
        running = in_hand.running = asyncio.create_task(run_handler(in_hand, charge, threads, tell))
        await asyncio.wait_for(has_begun.wait(), GIVE_UP)
        may_end.set()
        block_until(lambda: threads._ended)  # the loop stands still, and then its time is up
        in_hand.expire()
        await asyncio.wait_for(running, GIVE_UP)
    assert told == [outcome]


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "async"])
async def test_a_loop_that_stood_still_costs_no_step_that_ended_meanwhile(
    rig: Rig, zart_server: ServerUnderTest, *, is_plain: bool
) -> None:
    task, stands, deadlines = zart.Task("t"), threading.Event(), list[datetime]()
    ended: list[datetime] = []

    def pay() -> str:
        stands.wait(GIVE_UP)
        ended.append(datetime.now(UTC))
        return "receipt"

    def plain(ctx: zart.StepContext) -> str:
        deadlines.append(ctx.deadline)
        return pay()

    async def awaits(ctx: zart.StepContext) -> str:
        deadlines.append(ctx.deadline)
        return await asyncio.to_thread(pay)

    task.step(name="charge", once=True, timeout=6)(plain if is_plain else awaits)

    @task.step()
    async def blocks(_: zart.StepContext) -> None:
        await until(lambda: deadlines)
        stands.set()
        block_until(lambda: ended and datetime.now(UTC) > deadlines[0] + timedelta(seconds=0.5))

    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert ended[0] < deadlines[0]
    assert run.status == "COMPLETED"
