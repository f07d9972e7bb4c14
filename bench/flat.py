"""Whether a system full of work is as fast as an empty one: drain, leases, a held snapshot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg

import zart
from bench.calls import calling
from bench.drain import CONCURRENCY, ended_since
from bench.history import checked, multiplied
from bench.product import Product, product, registered, started
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_least, at_most
from zart.v1 import dispatch_service_pb2 as pb

TITLE = "a system of millions of steps against an almost empty one"
COLUMNS = {
    "steps_per_second": "drain, steps/s",
    "p50_ms": "LeaseTasks p50, ms",
    "p99_ms": "LeaseTasks p99, ms",
    "server_mib": "server, MiB resident",
}
PLOT = ("steps_per_second", "steps per second")
EMPTY, FULL = "almost empty", "full"
HELD = "full, a snapshot held open"
_SERVICE = "DispatchService"
_LEASE = 16  # tasks a call: a dispatcher's default width


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Load one system, leave the other almost empty, and measure on both in turn."""
    queued, withheld, finished = (
        run.size(1_000_000, 200_000),  # more than is drained even when that is quick
        run.size(1_000_000, 400),
        run.size(5_000_000, 300),
    )
    seconds = run.size(8, 1)
    with product() as empty, product() as full:
        for made in (empty, full):
            made.serve()
        await _loaded(full, queued, withheld, finished)
        async with empty.client() as client:
            await registered(client)
        round_size = run.size(50_000, 500)
        for round_ in run.times(3):
            async with empty.client() as client:
                await started(client, round_size, first=round_ * round_size)
            for made, name in ((empty, EMPTY), (full, FULL)):
                latency = await _leased(made, run.size(300, 10))
                rate = await _drained(made, seconds)
                memory = made.servers[0].rss / 2**20
                told(series, name, steps_per_second=rate, server_mib=memory, **latency)
        held = run.size(60, 2)
        async with snapshot(full):
            await _drained(full, held * 2 / 3)
            told(series, HELD, steps_per_second=await _drained(full, held / 3))
    return {
        "queued steps": queued,
        "withheld steps": withheld,
        "finished steps": finished,
        "seconds a drain": seconds,
        "snapshot held for seconds": held,
        "tasks a lease call": _LEASE,
    }


def targets(series: Series) -> list[Target]:
    """Issue 3, lines 2 and 8."""
    rate, p99 = "steps_per_second", "p99_ms"
    held = series.median(HELD, rate) / series.median(FULL, rate)
    return [
        at_least(
            0.75, "drain, full against almost empty", series.ratio((FULL, rate), (EMPTY, rate))
        ),
        at_most(1.5, "LeaseTasks p99, likewise", series.ratio((FULL, p99), (EMPTY, p99))),
        at_least(0.67, "drain, a snapshot held open against none", [held]),
        at_most(
            200, "server's memory at 1 million queued", series.numbers[FULL]["server_mib"], "MiB"
        ),
    ]


async def _loaded(made: Product, queued: int, withheld: int, finished: int) -> None:
    """Make one execution of each kind through the API, and copy it."""
    async with made.client() as client:
        await registered(client)
        await client.start("noop3", execution_id="finished")
        await _finished_one(client)
        await client.pause(task_name="ten", reason="withheld")
        await client.start("ten", execution_id="withheld")
        await client.start("noop3", execution_id="queued")
        await multiplied(made, "finished", finished // 3)
        await multiplied(made, "withheld", withheld // 10)
        await multiplied(made, "queued", queued)
        await checked(client, "finished", finished // 3, "two", zart.StepStatus.COMPLETED)
        await checked(client, "withheld", withheld // 10, "step-3", zart.StepStatus.PAUSED)
        await checked(client, "queued", queued, "one", zart.StepStatus.SCHEDULED)


async def _finished_one(client: zart.Client) -> None:
    while tasks := await client.lease_tasks("bench", ["noop3"]):
        outcomes = [zart.Outcome(t.task_id, t.lease_token, zart.Completed(1)) for t in tasks]
        await client.report_tasks("bench", outcomes)


async def _drained(made: Product, seconds: float) -> float:
    """Let a dispatcher drain for so long; gives steps per second."""
    async with made.db() as db:
        known: datetime = await db.fetchval("SELECT clock_timestamp()")
        made.dispatch(CONCURRENCY)
        await asyncio.sleep(1.5 + seconds)  # it boots, then drains
        made.stop_dispatchers()
        steps, took = await ended_since(db, known)
    return steps / took


async def _leased(made: Product, count: int) -> dict[str, float]:
    """Lease some tasks at a time, as a dispatcher does, and give them all back."""
    request = pb.LeaseTasksRequest(dispatcher_id="bench", task_names=["noop3"], max_tasks=_LEASE)
    request.lease_duration.FromSeconds(600)
    async with calling(made.address) as caller:
        timed = await caller.timed(_SERVICE, "LeaseTasks", [request] * count)
    async with made.client() as client, made.db() as db:
        rows = await db.fetch(
            "SELECT task_id, lease_token FROM zart_tasks WHERE lease_owner = 'bench'"
        )
        for begin in range(0, len(rows), 1000):
            await client.report_tasks(
                "bench",
                [
                    zart.Outcome(row["task_id"], row["lease_token"], zart.Released())
                    for row in rows[begin : begin + 1000]
                ],
            )
    if len(rows) != count * _LEASE:
        raise RuntimeError(f"{len(rows)} tasks were leased, not {count * _LEASE}")
    return p50_p99(timed.milliseconds)


@contextlib.asynccontextmanager
async def snapshot(made: Product) -> AsyncIterator[None]:
    """Hold a snapshot open: no vacuum removes what dies meanwhile."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(made.url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetchval("SELECT count(*) FROM zart.lanes")
            yield
    finally:
        await connection.close()
