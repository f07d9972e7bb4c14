"""Whether anything grows: memory, tables and indexes under a steady load, for ten minutes."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg

from bench.product import Product, product, registered, started
from bench.run import Run, say, told
from bench.series import Series, growth
from bench.target import Target, at_most

TITLE = "memory and sizes over ten minutes of steady load"
COLUMNS = {
    "steps_per_second": "steps/s",
    "server_mib": "server at the end, MiB",
    "server_growth": "server, last third against second",
    "dispatcher_mib": "dispatcher at its most, MiB",
    "queue_growth": "queue and leases with indexes, most against steady",
    "bytes_per_step": "kept for each step, bytes",
}
SOAK = "zart"
CONCURRENCY = 1000
_BACKLOG = 20_000
_MOVING = ("queue", "leases", "held")
_SIZES = """
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'zart' AND c.relkind = 'r'
"""


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Keep a backlog while it is drained; look every few seconds."""
    seconds = run.size(600, 4)
    backlog = run.size(_BACKLOG, 500)
    with product() as made:
        server = made.serve()
        async with made.client() as client, made.db() as db:
            await registered(client)
            stop = asyncio.Event()
            feeding = asyncio.create_task(_feed(made, backlog, stop))
            dispatcher = made.dispatch(CONCURRENCY)
            begun = time.monotonic()
            every = run.size(5, 1)
            while (now := time.monotonic() - begun) < seconds:
                await asyncio.sleep(every)
                _look(series, now, "MiB resident: server", server.rss / 2**20)
                _look(series, now, "MiB resident: dispatcher", dispatcher.rss / 2**20)
                sizes = {row["name"]: row["bytes"] for row in await db.fetch(_SIZES)}
                for name in _MOVING:
                    _look(series, now, f"MiB with indexes: {name}", sizes.get(name, 0) / 2**20)
                if feeding.done():
                    break
            stop.set()
            count = await feeding
            steps = await db.fetchval("SELECT count(*) FROM zart.steps WHERE status = 'completed'")
            kept = sum(size for name, size in sizes.items() if name not in _MOVING)
            told(series, SOAK, **_found(series, steps / seconds, kept / max(1, count * 3)))
    say(f"  {count:,} executions")
    return {"seconds": seconds, "concurrency": CONCURRENCY, "executions": count}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 8."""
    found = series.numbers[SOAK]
    return [
        at_most(200, "server's memory after the soak", found["server_mib"], "MiB"),
        at_most(1.05, "its growth, last third against second", found["server_growth"]),
        at_most(
            150, f"dispatcher's memory, {CONCURRENCY:,} at a time", found["dispatcher_mib"], "MiB"
        ),
        at_most(2, "queue and leases against their steady size", found["queue_growth"]),
    ]


def _look(series: Series, now: float, name: str, number: float) -> None:
    series.lines.setdefault(name, []).append((round(now, 1), number))


async def _feed(made: Product, backlog: int, stop: asyncio.Event) -> int:
    """Start executions so that some always wait; gives how many."""
    count = 0
    async with made.client() as client, made.db() as db:
        while not stop.is_set():
            queued = await _queued(db)
            if queued < backlog:
                await started(client, 1000, first=count)
                count += 1000
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.05)
    return count


async def _queued(db: asyncpg.Connection[asyncpg.Record]) -> int:
    """Return about how much waits: what is counted is bounded."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM (SELECT FROM zart.queue LIMIT $1)", _BACKLOG
    )
    return found


def _found(series: Series, rate: float, bytes_per_step: float) -> dict[str, float]:
    def of(name: str) -> list[float]:
        return [number for _, number in series.lines[name]]

    server = of("MiB resident: server")
    moving = [
        sum(sizes) for sizes in zip(*(of(f"MiB with indexes: {n}") for n in _MOVING), strict=True)
    ]
    steady = sorted(moving)[len(moving) // 2]
    return {
        "steps_per_second": rate,
        "server_mib": server[-1],
        "server_growth": growth(server),
        "dispatcher_mib": max(of("MiB resident: dispatcher")),
        "queue_growth": max(moving) / steady,
        "bytes_per_step": bytes_per_step,
    }
