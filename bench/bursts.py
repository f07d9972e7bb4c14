"""Bursts after an idle spell: how long nothing ends, whatever PostgreSQL believes of the tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg

import zart
from bench.history import multiplied
from bench.product import finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most

TITLE = "bursts after an idle spell, in each state of the statistics"
COLUMNS = {
    "ended_per_second": "executions/s",
    "standstill_s": "longest time without an end, s",
    "stale_ms": "stale, ms",
    "fresh_ms": "after ANALYZE, ms",
}
NEW = "a new database"
_CONCURRENCY = 128
_FEW = 20  # executions, by which it is known that the dispatchers are at work
_CALLS = 9  # of each kind
_TO_NOTHING = ("VACUUM zart.queue", "VACUUM zart.leases", "VACUUM zart.held")
STATES: dict[str, tuple[str, ...]] = {
    "never analyzed": (),
    "VACUUM ANALYZE": ("VACUUM ANALYZE",),
    "VACUUM ANALYZE, twice": ("VACUUM ANALYZE", "VACUUM ANALYZE"),
    "ANALYZE": ("ANALYZE",),
    "vacuumed to nothing, runs analyzed": ("ANALYZE zart.runs", *_TO_NOTHING),
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Let a burst come in each state, and then to a database with many finished executions."""
    before, burst = run.size(4000, 200), run.size(6000, 300)
    for _ in run.times(1):
        told(series, NEW, **await _burst(_FEW, burst, ()))
        for state, statements in run.some(STATES.items(), 2):
            told(series, state, **await _burst(before, burst, statements))
    finished_ones, begun = run.size(1_000_000, 5_000), run.size(100_000, 20_000)
    await _calls(series, finished_ones, begun)
    return {"executions before": before, "burst": burst, "finished": finished_ones, "begun": begun}


def targets(series: Series) -> list[Target]:
    """Issue 11, point 2."""
    states = [state for state in STATES if series.has(state, "standstill_s")]
    found = [
        at_most(
            2, f"longest time without an end: {state}", series.numbers[state]["standstill_s"], "s"
        )
        for state in (NEW, *states)
    ]
    rate = "ended_per_second"
    found += [
        at_least(
            0.9, f"drain against a new database: {state}", series.ratio((state, rate), (NEW, rate))
        )
        for state in states
    ]
    found += [
        at_most(
            1.5,
            f"{name}, stale against fresh",
            series.ratio((name, "stale_ms"), (name, "fresh_ms")),
        )
        for name in CALLS
    ]
    return found


async def _burst(before: int, burst: int, statements: tuple[str, ...]) -> dict[str, float]:
    """Have executions end, bring about a state, and drain a burst, each fifth of which dies."""
    with product("autovacuum=off") as made:
        made.serve()
        async with made.client() as client, made.db() as db:
            await registered(client)
            for _ in range(2):
                made.dispatch(_CONCURRENCY)
            await started(client, before)
            await finished(client)
            for statement in statements:
                await db.execute(statement)
            known = await db.fetchval("SELECT clock_timestamp()")
            await started(client, burst // 5 * 4, first=before)
            await started(client, burst // 5, "dying")
            await finished(client)
            gaps = await db.fetch(
                "SELECT extract(epoch FROM completed_at - COALESCE(lag(completed_at)"
                " OVER (ORDER BY completed_at), $1))::float8 AS gap,"
                " extract(epoch FROM completed_at - $1)::float8 AS since"
                " FROM zart.runs WHERE completed_at > $1 ORDER BY completed_at",
                known,
            )
    return {
        "ended_per_second": len(gaps) / gaps[-1]["since"],
        "standstill_s": max(row["gap"] for row in gaps),
    }


async def _lease(client: zart.Client, n: int) -> list[zart.models.LeasedTask]:
    found = await client.lease_tasks("bench", ["single"], max_tasks=n)
    if len(found) != n:
        raise RuntimeError(f"{len(found)} of {n} tasks were leased")
    return list(found)


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await call()
    return (time.perf_counter() - begun) * 1000


async def _die(client: zart.Client) -> Callable[[], Awaitable[object]]:
    error = zart.models.StepError("Broken", "no", "")
    outcomes = [
        zart.Outcome(task.task_id, task.lease_token, zart.Failed(error, retryable=False))
        for task in await _lease(client, 16)
    ]
    return lambda: client.report_tasks("bench", outcomes)


async def _round(client: zart.Client, n: int) -> dict[str, float]:
    """Time one call of each kind; ``n`` names executions that no round before had."""
    dying = await _die(client)
    name = f"single-{n}"
    return {
        "LeaseTasks of 16": await _timed(lambda: _lease(client, 16)),
        "LeaseTasks of 1,000": await _timed(lambda: _lease(client, 1000)),
        "ReportTasks, 16 deaths": await _timed(dying),
        "Pause of an execution": await _timed(lambda: client.pause(execution_id=name)),
        "Resume": await _timed(lambda: client.resume(execution_id=name)),
        "CancelExecution": await _timed(lambda: client.cancel_execution(name)),
    }


CALLS = (
    "LeaseTasks of 16",
    "LeaseTasks of 1,000",
    "ReportTasks, 16 deaths",
    "Pause of an execution",
    "Resume",
    "CancelExecution",
)


async def _calls(series: Series, finished_ones: int, begun: int) -> None:
    """Time calls with many finished and many begun, before an ANALYZE and after it."""
    with product("autovacuum=off") as made:
        made.serve()
        async with made.client() as client, made.db() as db:
            await registered(client)
            await client.start("noop3", execution_id="noop3")
            made.dispatch(_CONCURRENCY)
            await finished(client)
            made.stop_dispatchers()
            await multiplied(made, "noop3", finished_ones)
            await started(client, begun, "single")
            stale = [await _round(client, begun - 1 - n) for n in range(_CALLS)]
            await db.execute("VACUUM ANALYZE")
            fresh = [await _round(client, begun - 1 - _CALLS - n) for n in range(_CALLS)]
    for name in CALLS:
        told(
            series,
            name,
            stale_ms=statistics.median(found[name] for found in stale),
            fresh_ms=statistics.median(found[name] for found in fresh),
        )
