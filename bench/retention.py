"""Whether removing what has ended keeps pace with a drain, what that costs the drain, and bloat.

A backlog is drained while more is started, for a while without retention and for a while with one
that is short, so that each second as much has to go as is completed. What a drain beside it reaches
is compared with one alone, in turns. Then it is drained beside it for an hour. Late is how long ago
the oldest execution ended that is still there, beyond the time it is kept for. Growth is that of
the tables and indexes from the second third of the time to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from bench.drain import STEPS
from bench.product import Product, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most

TITLE = "finished executions removed a minute after their end, while as many are drained"
COLUMNS = {
    "steps_per_second": "steps/s",
    "removed_per_second": "executions removed/s",
    "left": "finished and still there, of those of the time kept",
    "late_s": "oldest beyond its time, s",
    "growth": "tables with indexes, last third against second",
    "share": "drain beside it against alone",
}
ALONE, BESIDE, LONG = "without retention", "with retention", "with retention, an hour"
_CONCURRENCY = 1000
_BACKLOG = 20_000
_SIZES = """
SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r'
"""
_OLDEST = """
SELECT COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(completed_at)), 0)::float8 FROM (
    SELECT completed_at FROM zart.runs WHERE status = 'completed'
    ORDER BY run_key LIMIT 1000) r
"""
_IS_ANY_COMPLETED = "SELECT EXISTS (SELECT FROM zart.runs WHERE status = 'completed')"
# What was removed is what was started and is not there: the record of removals goes, too.
_THERE = """
SELECT count(*) AS runs, count(*) FILTER (WHERE status = 'completed') AS finished, count(*) FILTER (
    WHERE completed_at > statement_timestamp() - $1 * interval '1 second') AS within
FROM zart.runs
"""


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Drain in turns without retention and with it, then for long."""
    seconds, long = run.size(300, 4), run.size(3_600, 6)
    kept = run.size(60, 2)
    for _ in run.times(2):
        alone = await _drained(run, series, ALONE, seconds)
        beside = await _drained(run, series, BESIDE, seconds, kept)
        told(series, BESIDE, share=beside / alone)
    await _drained(run, series, LONG, long, kept)
    return {
        "seconds": seconds,
        "seconds, for long": long,
        "kept for": kept,
        "concurrency": _CONCURRENCY,
    }


def targets(series: Series) -> list[Target]:
    """Issue 15, line 5."""
    share, found = series.numbers[BESIDE]["share"], series.numbers[LONG]
    return [
        at_least(0.85, "a drain beside the removal of as much, against one alone", share),
        at_most(60, "the oldest that is still there, beyond its time", found["late_s"], "s"),
        at_most(1.1, "tables with indexes, last third against second", found["growth"]),
    ]


async def _drained(
    run: Run, series: Series, name: str, seconds: int, kept: int | None = None
) -> float:
    """Drain for so long; return the steps a second."""
    settings = {} if kept is None else {"retention": f"{kept}s", "operations_retention": f"{kept}s"}
    with product() as made:
        made.serve(**{f"ZART_{name.upper()}": value for name, value in settings.items()})
        async with made.client() as client, made.db() as db:
            await registered(client)
            stop = asyncio.Event()
            feeding = asyncio.create_task(_feed(made, run.size(_BACKLOG, 500), stop))
            made.dispatch(_CONCURRENCY)
            sizes: list[float] = []
            begun = time.monotonic()
            is_any = (
                False  # a dispatcher may take long to begin on a machine that does other things
            )
            while time.monotonic() - begun < seconds + (0 if is_any else 60) and not feeding.done():
                await asyncio.sleep(run.size(5, 1))
                is_any = is_any or await db.fetchval(_IS_ANY_COMPLETED)
                size = float(await db.fetchval(_SIZES))
                sizes.append(size)
                now = round(time.monotonic() - begun, 1)
                series.lines.setdefault(f"MiB with indexes, {name}", []).append((now, size / 2**20))
            late = float(await db.fetchval(_OLDEST)) - (kept or 0)
            stop.set()
            count = await feeding
            took = time.monotonic() - begun
            there = await db.fetchrow(_THERE, float(kept or seconds))
            assert there is not None
    removed = count - there["runs"]
    rate = float((there["finished"] + removed) * STEPS / took)
    figures = {"steps_per_second": rate}
    if kept is not None:
        figures |= {
            "removed_per_second": removed / took,
            "left": there["finished"] / max(1, there["within"]),
            "late_s": max(0.0, late),
            "growth": _growth(sizes),
        }
    told(series, name, **figures)
    return rate


def _growth(sizes: list[float]) -> float:
    third = max(1, len(sizes) // 3)
    second, last = sizes[third : 2 * third] or sizes, sizes[2 * third :] or sizes
    return (sum(last) / len(last)) / (sum(second) / len(second))


async def _feed(made: Product, backlog: int, stop: asyncio.Event) -> int:
    """Start executions so that some always wait; return how many."""
    count = 0
    async with made.client() as client, made.db() as db:
        while not stop.is_set():
            queued = await db.fetchval(
                "SELECT count(*) FROM (SELECT FROM zart.queue LIMIT $1) q", backlog
            )
            if queued < backlog:
                await started(client, 1000, first=count)
                count += 1000
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.05)
    return count
