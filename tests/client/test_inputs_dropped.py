"""An outcome that waits for a server keeps nothing of what its handler was given."""

from __future__ import annotations

import asyncio
import gc

import grpc
import pytest
from between import Between, Refusal
from dispatching import start
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.testing.server import ServerUnderTest

LARGE = 100_000  # bytes


def given_to_handlers() -> list[zart.StepContext]:
    """Return what handlers were given that is large and still in memory."""
    gc.collect()
    contexts = [each for each in gc.get_objects() if isinstance(each, zart.StepContext)]
    return [each for each in contexts if each._task.ByteSize() > LARGE]


@pytest.mark.parametrize("fails", [False, True], ids=["completed", "failed"])
async def test_payload_and_results_are_freed_before_the_outcome_is_recorded(
    rig: Rig, zart_server: ServerUnderTest, *, fails: bool
) -> None:
    task, stop = zart.Task("t"), asyncio.Event()
    at_work: list[int] = []

    @task.step()
    async def first(_: zart.StepContext) -> str:
        return "x" * LARGE

    def ends(ctx: zart.StepContext) -> str:
        assert len(ctx.result_of(first)) == len(ctx.payload) == LARGE
        at_work.append(len(given_to_handlers()))
        if fails:
            raise zart.StepFailed("no", retryable=False)
        return "done"

    @task.step(depends_on=[first])
    def plain(ctx: zart.StepContext) -> str:
        return ends(ctx)

    @task.step(depends_on=[first])
    async def awaited(ctx: zart.StepContext) -> str:
        return ends(ctx)

    def refuse(method: str, _request: bytes) -> Refusal | None:
        is_last = method == "ReportTasks" and bool(proxy.passed[method])
        return Refusal(grpc.StatusCode.UNAVAILABLE) if is_last else None

    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address)
        running = asyncio.create_task(dispatcher.run(stop))
        handle = await start(rig, task, "x" * LARGE)
        await until(lambda: dispatcher.figures().outcomes == 2 and not dispatcher.figures().running)
        assert min(at_work) > 0
        await until(lambda: given_to_handlers() == [])  # a second later: it may only be slow
        proxy.refuse = lambda *_: None
        run = await handle.run(timeout=GIVE_UP)
        stop.set()
        await running
    assert run.status == ("FAILED" if fails else "COMPLETED")
