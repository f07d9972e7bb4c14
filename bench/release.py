"""How well a release keeps its pace while a server dies, and what it costs everything else."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import asyncpg

import zart
from bench.drain import CONCURRENCY
from bench.history import multiplied
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most

TITLE = "100,000 paused steps released at a pace by two servers, one of which is killed half-way"
COLUMNS = {
    "off_percent": "off the pace over any 10 s, %",
    "burst": "most at one moment, seconds' worth",
    "noticed_s": "longest pause when the server died, s",
    "disordered": "steps out of order",
    "wrong_totals": "looks at which totals did not add up",
    "others": "others meanwhile, ×",
}
RATES = (500.0, 5_000.0)
SLOW = 0.2
_NOW = "SELECT EXTRACT(epoch FROM clock_timestamp())::float8"
_NOTICED = 3.0  # seconds after the death of a server
_WINDOW = 10.0

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Release at each pace, and kill the server that was asked for it half-way."""
    steps = run.size(100_000, 4_000)
    for rate in RATES:
        for _ in run.times(1):
            with product() as made:
                told(series, f"{rate:,.0f}/s", **await _released(run, made, rate, steps))
    with product() as made:
        told(series, f"{SLOW}/s", **await _slowly(run, made))
    return {"paused steps": steps, "window, s": _WINDOW, "noticed after, s": _NOTICED}


def targets(series: Series) -> list[Target]:
    """Issue 13, line 3."""
    found = []
    for name in (f"{rate:,.0f}/s" for rate in RATES):
        one = series.numbers[name]
        found += [
            at_most(5, f"off the pace over any 10 s at {name}", one["off_percent"], "%"),
            at_most(1, f"burst at {name}", one["burst"], "s"),
            at_most(_NOTICED, f"pause when a server died at {name}", one["noticed_s"], "s"),
            at_most(0, f"steps out of order at {name}", one["disordered"], ""),
            at_most(0, f"wrong totals at {name}", one["wrong_totals"], ""),
            at_least(0.9, f"dispatch of everything else at {name}", one["others"]),
        ]
    slow = series.numbers[f"{SLOW}/s"]
    return [*found, at_most(1, f"steps off the pace at {SLOW}/s", slow["off_steps"], "")]


async def _paused(made: Product, client: zart.Client, db: Connection, steps: int) -> str:
    """Pause so many queued steps, and have the rule settled; give its id."""
    await registered(client)
    await client.start("single", execution_id="single")
    await multiplied(made, "single", steps - 1)
    rule_id = (await client.pause(task_name="single", reason="bench")).rule_id
    while await db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)"):
        await asyncio.sleep(0.05)
    return rule_id


async def _released(run: Run, made: Product, rate: float, steps: int) -> dict[str, float]:
    made.serve()
    dying = made.serve()
    async with (
        made.client() as client,
        zart.connect(made.addresses[1], timeout=120) as doomed,
        made.db() as db,
    ):
        rule_id = await _paused(made, client, db, steps)
        await client.start("noop3", execution_id="noop3")
        await multiplied(made, "noop3", run.size(200_000, 100_000))
        made.dispatch(CONCURRENCY, tasks="bench.noop:noop3")
        await asyncio.sleep(run.size(3, 2))
        alone = await _others(db, run.size(10, 1))
        taking = asyncio.create_task(_take(client))
        await doomed.resume(rule_id=rule_id, rate_per_second=rate)
        while await db.fetchval("SELECT count(*) FROM zart.held") == steps:
            await asyncio.sleep(0.01)
        beside = await _others(db, run.size(8, 1))
        wrong, killed_at = 0, 0.0
        while left := await _left(db):
            wrong += left.total != steps
            if not killed_at and left.held < steps / 2:
                dying.popen.kill()
                killed_at = await db.fetchval(
                    "SELECT EXTRACT(epoch FROM clock_timestamp())::float8"
                )
            await asyncio.sleep(0.05)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        made.stop_dispatchers()
        rows = await db.fetch(
            "SELECT EXTRACT(epoch FROM released_at)::float8 AS at, run_key"
            " FROM zart.released_steps ORDER BY at, run_key"
        )
    dying.popen.wait()
    made.servers.remove(dying)
    times = [row["at"] for row in rows]
    gaps = [b - a for a, b in pairwise(times) if a <= killed_at + 1 and b >= killed_at]
    after = [at for at in times if at > killed_at + _NOTICED]
    runs = [row["run_key"] for row in rows]
    return {
        "off_percent": max(_off(times, rate, until=killed_at), _off(after, rate)),
        "burst": max(Counter(times).values()) / rate,
        "noticed_s": max(gaps, default=0.0),
        "disordered": sum(b < a for a, b in pairwise(runs)),
        "wrong_totals": wrong,
        "others": beside / alone,
    }


class _Left:
    """What is paused, and what that and what went add up to, as of one moment."""

    def __init__(self, held: int, went: int) -> None:
        self.held, self.total = held, held + went


async def _left(db: Connection) -> _Left | None:
    """Look; None: nothing is left."""
    row = await db.fetchrow(
        "SELECT (SELECT count(*) FROM zart.held),"
        " (SELECT count(*) FROM zart.released_steps),"
        " (SELECT released_steps FROM zart.pause_releases)"
    )
    assert row is not None
    if row[1] != row[2]:
        return _Left(row[0], -1)
    return _Left(row[0], row[1]) if row[0] else None


async def _take(client: zart.Client) -> None:
    """Lease what is released, and leave it at that: only its release is measured."""
    while True:
        await client.lease_tasks("bench", ["single"], max_tasks=1000, wait=5, lease_duration=3600)


async def _others(db: Connection, seconds: float) -> float:
    """Return the steps per second of the other task, for so long."""
    count = (
        "SELECT count(*), clock_timestamp() FROM zart.steps s JOIN zart.runs r USING (run_key)"
        " WHERE r.listed_task = 'noop3' AND s.completed_at IS NOT NULL"
    )
    (before,) = await db.fetch(count)
    await asyncio.sleep(seconds)
    (after,) = await db.fetch(count)
    return float(after[0] - before[0]) / float((after[1] - before[1]).total_seconds())


def _off(times: Sequence[float], rate: float, until: float | None = None) -> float:
    """Return by how many percent any window is off the pace, but for one step.

    Where less than that is there, windows of half of it.
    """
    worst = 0.0
    if len(times) < 2:
        return worst
    last = times[-1] if until is None else until
    window = min(_WINDOW, (last - times[0]) / 2)
    for begin in sorted(set(times)):
        if begin + window > last:
            break
        # Not what goes at its begin: a piece stands for the time before it.
        count = bisect_right(times, begin + window) - bisect_right(times, begin)
        worst = max(worst, (abs(count - rate * window) - 1) / (rate * window) * 100)
    return worst


async def _slowly(run: Run, made: Product) -> dict[str, float]:
    """Release a few steps at a rate of which each step takes its time."""
    made.serve()
    made.serve()
    steps = run.size(9, 3)
    async with made.client() as client, made.db() as db:
        rule_id = await _paused(made, client, db, steps)
        begun = time.monotonic()
        await client.resume(rule_id=rule_id, rate_per_second=SLOW)
        while await db.fetchval("SELECT count(*) FROM zart.held"):
            await asyncio.sleep(0.1)
        took = time.monotonic() - begun
    return {"off_steps": abs(took * SLOW - (steps - 1))}
