"""What real work costs and how evenly it goes, in bursts and with idle gaps, for ten minutes.

A step's cost is the CPU of server, PostgreSQL and dispatchers: its handler only waits. It is
compared with that of a drain of steps that do nothing, in the same database just before.
"""

from __future__ import annotations

import asyncio
import statistics

import zart
from bench import mixed_tasks
from bench.drain import STEPS, draining
from bench.ended import Connection, Ended, ended_since, evenness
from bench.product import Product, finished, product, registered, started
from bench.run import Run, told
from bench.series import Series, growth
from bench.target import Target, at_least, at_most
from bench.uneven import started_in_turn, started_unevenly

TITLE = "twenty tasks of 3–30 steps that wait, fail and die, in bursts, at 60 % of capacity"
COLUMNS = {
    "steps_per_cpu_second": "steps for each second of CPU",
    "server_us_per_step": "server, µs CPU a step",
    "dispatcher_us_per_step": "dispatchers, µs",
    "postgres_us_per_step": "PostgreSQL, µs",
    "capacity": "capacity, steps/s",
    "steps_per_second": "steps/s",
    "attempts_per_step": "attempts a step",
    "p50_ms": "ready to leased p50, ms",
    "p99_ms": "p99, ms",
    "standstill_s": "longest standstill, s",
    "server_mib": "server at the end, MiB",
    "server_growth": "server, last third against second",
    "dispatcher_mib": "both dispatchers at their most, MiB",
    "dispatcher_growth": "dispatchers, last third against second",
    "queue_mib": "queue and leases with indexes at their most, MiB",
    "queue_growth": "queue and leases, most against median",
    "dead_rows_percent": "dead rows among those kept, at most, %",
}
DRAIN, MIXED = "no-op drain", "mixed"
COST = "steps_per_cpu_second"
RATIO = (MIXED, COST)
CONCURRENCY = 256  # of each dispatcher
DISPATCHERS = 2
_AT_ONCE = 16  # rules that are added at one time
_LOOK = 5.0  # seconds between two looks at memory and sizes
_NAMES = [task.name for task in mixed_tasks.TASKS]
_SIZES = """
SELECT COALESCE(sum(pg_total_relation_size(relid)) FILTER (WHERE moving), 0)::float8 / 2^20 AS mib,
    COALESCE(sum(n_dead_tup) FILTER (WHERE NOT moving) * 100
        / NULLIF(sum(n_dead_tup + n_live_tup) FILTER (WHERE NOT moving), 0), 0)::float8 AS dead
FROM (SELECT *, relname IN ('queue', 'leases', 'held') AS moving FROM pg_stat_user_tables) t
WHERE schemaname = 'zart'
"""
_SERVER, _DISPATCHERS = "MiB resident: server", "MiB resident: dispatchers"
_QUEUE, _DEAD = "MiB with indexes: queue and leases", "dead rows, %"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Drain no-op steps, find the capacity for mixed ones, then start these at 60 % of it."""
    seconds, cycle = run.size(600, 1), run.size(20, 1)
    drained, trial = run.size(30_000, 300), run.size(6_000, 20)
    rules = run.size(200, 20)
    for _ in run.times(1):
        with product() as made:
            made.serve()
            async with made.client() as client, made.db() as db:
                await registered(client)
                await asyncio.gather(
                    *(client.register_task(task.name, task.specs) for task in mixed_tasks.TASKS)
                )
                await _add_rules(client, rules)
                told(series, DRAIN, **await _no_op_drain(made, client, drained))
                for _ in range(DISPATCHERS):
                    made.dispatch(CONCURRENCY, tasks="bench.mixed_tasks")
                can = await _capacity(client, db, trial)
                feeding = started_unevenly(
                    client, _NAMES, can.per_second / can.steps * can.runs, cycle, seconds
                )
                found = await _mixed(made, db, client, asyncio.create_task(feeding), series)
                told(series, MIXED, capacity=can.per_second, **found)
    return {
        "seconds": seconds,
        "seconds of a cycle": cycle,
        "executions drained": drained,
        "executions to find the capacity": trial,
        "concurrency of each dispatcher": CONCURRENCY,
        "rules": rules,
    }


def targets(series: Series) -> list[Target]:
    """Issue 16: what real work costs, and that nothing stands still or grows."""
    found = series.numbers[MIXED]
    against = series.ratio(RATIO, (DRAIN, COST))
    return [
        at_least(0.5, "mixed steps for a second of CPU, against the no-op drain's", against),
        at_most(2, "longest standstill of mixed work", found["standstill_s"], "s"),
        at_most(1.05, "server's growth, last third against second", found["server_growth"]),
        at_most(1.05, "dispatchers' growth, likewise", found["dispatcher_growth"]),
        at_most(2, "queue and leases against their median size", found["queue_growth"]),
    ]


async def _add_rules(client: zart.Client, count: int) -> None:
    """Pause what does not come: other executions, other tasks, other steps of these tasks."""

    async def add(numbers: range) -> None:
        for n in numbers:
            name = _NAMES[n % len(_NAMES)]
            if n % 3 == 0:
                await client.pause(execution_id=f"some-order-{n}", reason="bench")
            elif n % 3 == 1:
                await client.pause(task_name=f"some-task-{n}", reason="bench")
            else:
                await client.pause(task_name=name, step_pattern=f"charge-{n}-*", reason="bench")

    await asyncio.gather(*(add(range(n, count, _AT_ONCE)) for n in range(_AT_ONCE)))


async def _no_op_drain(made: Product, client: zart.Client, executions: int) -> dict[str, float]:
    """Drain as the measurement of that name does, beside the rules."""
    await started(client, executions)
    async with draining(made, executions * STEPS) as drained:
        made.dispatch(CONCURRENCY)
        await finished(client)
    made.stop_dispatchers()
    return _with_cost(drained.figures)


def _with_cost(figures: dict[str, float]) -> dict[str, float]:
    used = sum(number for name, number in figures.items() if name.endswith("_us_per_step"))
    return {COST: 1e6 / used, **figures}


async def _capacity(client: zart.Client, db: Connection, executions: int) -> Ended:
    """Let a backlog of mixed executions be done, as fast as it can be."""
    known = await db.fetchval("SELECT clock_timestamp()")
    for first in range(0, executions, 1000):
        await started_in_turn(client, _NAMES, first, min(1000, executions - first), "trial")
    await finished(client)
    return await ended_since(db, known)


async def _mixed(
    made: Product, db: Connection, client: zart.Client, feeding: asyncio.Task[int], series: Series
) -> dict[str, float]:
    """Look on while executions are started, until all have finished."""
    known, before = await db.fetchval("SELECT clock_timestamp()"), _cpu(made)
    looking = asyncio.create_task(_look(made, db, feeding, series))
    await feeding
    await looking
    await finished(client)
    seconds = await db.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1)::float8", known)
    used = {who: cpu - before[who] for who, cpu in _cpu(made).items()}
    ended, found = await ended_since(db, known), await evenness(db, known)

    def numbers(line: str) -> list[float]:
        return [number for _, number in series.lines[line]]

    return {
        **_with_cost({f"{who}_us_per_step": cpu * 1e6 / ended.steps for who, cpu in used.items()}),
        "steps_per_second": ended.steps / seconds,
        "attempts_per_step": found.pop("attempts") / ended.steps,
        **found,
        "server_mib": numbers(_SERVER)[-1],
        "server_growth": growth(numbers(_SERVER)),
        "dispatcher_mib": max(numbers(_DISPATCHERS)),
        "dispatcher_growth": growth(numbers(_DISPATCHERS)),
        "queue_mib": max(numbers(_QUEUE)),
        "queue_growth": max(numbers(_QUEUE)) / statistics.median(numbers(_QUEUE)),
        "dead_rows_percent": max(numbers(_DEAD)),
    }


def _cpu(made: Product) -> dict[str, float]:
    return {
        "server": sum(one.cpu for one in made.servers),
        "dispatcher": sum(one.cpu for one in made.dispatchers),
        "postgres": made.postgres_cpu,
    }


async def _look(made: Product, db: Connection, feeding: asyncio.Task[int], series: Series) -> None:
    """Note memory and sizes every few seconds while executions are started."""
    begun = asyncio.get_running_loop().time()
    while not feeding.done():
        await asyncio.wait([feeding], timeout=_LOOK)
        row = await db.fetchrow(_SIZES)
        assert row is not None
        now = round(asyncio.get_running_loop().time() - begun, 1)
        for name, number in (
            (_SERVER, sum(one.rss for one in made.servers) / 2**20),
            (_DISPATCHERS, sum(one.rss for one in made.dispatchers) / 2**20),
            (_QUEUE, row["mib"]),
            (_DEAD, row["dead"]),
        ):
            series.lines.setdefault(name, []).append((now, number))
