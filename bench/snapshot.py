"""What a snapshot that is held open for long costs: looks at work that went by meanwhile."""

from __future__ import annotations

import asyncio

import zart
from bench.calls import calling
from bench.drain import CONCURRENCY
from bench.flat import snapshot
from bench.product import Product, finished, product, registered, started
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_most
from zart.v1 import dispatch_service_pb2 as pb

TITLE = "a snapshot held open while executions come and go"
COLUMNS = {
    "idle_ms_per_second": "PostgreSQL, ms CPU a second, idle",
    "p50_ms": "LeaseTasks p50, ms",
    "p99_ms": "p99, ms",
}
_PARTS = 4
_NAME = "after {} of " + str(_PARTS)


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Let some work go by, look at what it costs to be idle and to lease, and so on."""
    executions, calls, seconds = run.size(30_000, 500), run.size(200, 20), run.size(10, 2)
    for round_ in run.times(2):
        with product() as made:
            made.serve()
            async with made.client() as client, snapshot(made):
                await registered(client)
                for part in range(_PARTS):
                    await started(client, executions, first=part * executions)
                    made.dispatch(CONCURRENCY)
                    await finished(client)
                    idle = await _idle(made, seconds)
                    made.stop_dispatchers()
                    latency = await _leased(made, client, calls, f"{round_}-{part}")
                    told(series, _NAME.format(part + 1), idle_ms_per_second=idle, **latency)
    return {"executions in each part": executions, "lease calls": calls}


def targets(series: Series) -> list[Target]:
    """What went by costs nothing any more."""
    first, last = _NAME.format(1), _NAME.format(_PARTS)
    idle = [series.numbers[name]["idle_ms_per_second"] for name in (first, last)]
    growth = [after - before for before, after in zip(*idle, strict=True)]
    slower = series.ratio((last, "p50_ms"), (first, "p50_ms"))
    return [
        at_most(15, "growth of what an idle second costs PostgreSQL", growth, "ms"),
        at_most(1.5, "LeaseTasks p50, last against first", slower),
    ]


async def _idle(made: Product, seconds: float) -> float:
    """Let a dispatcher wait for work."""
    await asyncio.sleep(1)
    begun = made.postgres_cpu
    await asyncio.sleep(seconds)
    return (made.postgres_cpu - begun) * 1000 / seconds


async def _leased(made: Product, client: zart.Client, calls: int, named: str) -> dict[str, float]:
    """Lease single tasks, one a call, until nothing is left."""
    results = await client.batch_start_executions(
        [zart.Start("single", None, f"single-{named}-{n}") for n in range(calls)]
    )
    assert len(results) == calls
    request = pb.LeaseTasksRequest(dispatcher_id="bench", task_names=["single"], max_tasks=1)
    request.lease_duration.FromSeconds(600)
    async with calling(made.address) as caller:
        timed = await caller.timed("DispatchService", "LeaseTasks", [request] * calls)
    for n in range(calls):
        await client.cancel_execution(f"single-{named}-{n}")
    return p50_p99(timed.milliseconds)
