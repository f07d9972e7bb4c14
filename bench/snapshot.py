"""What a snapshot that is held open for long costs: looks at work that went by meanwhile."""

from __future__ import annotations

import asyncio
import statistics

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
    "times": "p50 against a system without, ×",
}
_PARTS = 4
_SLICES = 5  # of the calls, in turn with those of the other system
_NAME = "after {} of " + str(_PARTS)


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Let some work go by, look at what it costs to be idle and to lease, and so on."""
    executions, calls, seconds = run.size(30_000, 500), run.size(200, 20), run.size(10, 2)
    for round_ in run.times(2):
        with product() as made, product() as without:
            made.serve()
            without.serve()
            async with made.client() as client, without.client() as other, snapshot(made):
                await registered(client)
                await registered(other)
                for part in range(_PARTS):
                    await started(client, executions, first=part * executions)
                    made.dispatch(CONCURRENCY)
                    await finished(client)
                    idle = await _idle(made, seconds)
                    made.stop_dispatchers()
                    leasing = (made, client), (without, other)
                    latency = await _leased_in_turn(leasing, calls, f"{round_}-{part}")
                    told(series, _NAME.format(part + 1), idle_ms_per_second=idle, **latency)
    return {"executions in each part": executions, "lease calls": calls}


def targets(series: Series) -> list[Target]:
    """What went by costs nothing any more.

    Leases are compared with those of a system without a snapshot and without work, at the same
    time: the machine may be another one a minute later.
    """
    first, last = _NAME.format(1), _NAME.format(_PARTS)
    idle = [series.numbers[name]["idle_ms_per_second"] for name in (first, last)]
    growth = [after - before for before, after in zip(*idle, strict=True)]
    found = [at_most(15, "growth of what an idle second costs PostgreSQL", growth, "ms")]
    if series.has(last, "times"):  # older results have no other system beside
        times = series.numbers[last]["times"]
        found.append(at_most(1.5, "LeaseTasks p50, last, against that without", times))
    return found


async def _idle(made: Product, seconds: float) -> float:
    """Let a dispatcher wait for work."""
    await asyncio.sleep(1)
    begun = made.postgres_cpu
    await asyncio.sleep(seconds)
    return (made.postgres_cpu - begun) * 1000 / seconds


async def _leased_in_turn(
    systems: tuple[tuple[Product, zart.Client], ...], calls: int, named: str
) -> dict[str, float]:
    """Lease in one system and the other in turn; tells of the first."""
    found: list[list[float]] = []
    ratios = []
    for number in range(_SLICES):
        mine, others = [
            await _leased(made, client, calls // _SLICES, f"{named}-{number}")
            for made, client in systems
        ]
        found.append(mine)
        ratios.append(statistics.median(mine) / statistics.median(others))
    return {**p50_p99([one for part in found for one in part]), "times": statistics.median(ratios)}


async def _leased(made: Product, client: zart.Client, calls: int, named: str) -> list[float]:
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
    return timed.milliseconds
