"""An outcome that nobody lets through keeps no slot: other tasks are leased meanwhile."""

from __future__ import annotations

import asyncio

import grpc
from between import Between, Refusal
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.dispatcher.leasing import PATIENCE
from zart.testing.server import ServerUnderTest


async def test_the_only_slot_is_used_while_its_last_outcome_is_refused_again_and_again(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, begun, may_end, is_minded = zart.Task("t"), asyncio.Event(), asyncio.Event(), True
    clock = asyncio.get_running_loop().time

    @task.step(name="a")
    async def first(ctx: zart.StepContext) -> str:
        began = clock()
        begun.set()
        await may_end.wait()
        # It looks by itself a moment after its lease was answered; and leases ahead of quick steps.
        await until(lambda: clock() > began + 100 * PATIENCE)
        return ctx.execution_id

    task.step(name="b", depends_on=[first])(lambda _: "done")

    def refuse(method: str, request: bytes) -> Refusal | None:
        is_it = is_minded and method == "ReportTasks" and b"too-large" in request
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED) if is_it else None

    async with (
        Between(zart_server.address, refuse) as proxy,
        dispatching(zart_server, task, address=proxy.address, concurrency=1, stream=False),
    ):
        handle = await start(rig, task, execution_id="too-large")
        await begun.wait()
        other = await start(rig, task, execution_id="other")
        may_end.set()
        await until(lambda: proxy.refused["ReportTasks"] > 1)
        assert await other.result(timeout=GIVE_UP) == "done"
        is_minded = False
        assert await handle.result(timeout=GIVE_UP) == "done"
