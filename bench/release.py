"""How well a release keeps its pace while a server dies, and what it costs everything else.

Others are what drains meanwhile, as fast as it can. Released steps take their share of the
dispatch by being run, as they would without a rule, so that a drain beside a release is compared
with a drain beside as many steps of the same task that become due at the same pace by themselves:
the quotient is what the releasing costs. On a machine that does other things too it says little:
a pace is kept all the same, by a larger part of what is left. Then the CPU tells more: what was
used beyond that of as many steps run, for each step released, in steps run.

The server that is killed is the one that moves the release; either runs what is released.

The drain is smaller than a release at 500/s is long: its pace is seen beside the drain, and alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import asyncpg

import zart
from bench.at_work import server_at_work
from bench.drain import CONCURRENCY
from bench.history import multiplied
from bench.paced import WINDOW, off_pace
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most

TITLE = "100,000 paused steps released at a pace by one of two servers, which is killed half-way"
COLUMNS = {
    "off_percent": "off the pace over any 10 s, %",
    "burst": "most at one moment, seconds' worth",
    "noticed_s": "longest pause when the server died, s",
    "disordered": "steps out of order",
    "wrong_totals": "looks at which totals did not add up",
    "others": "others beside it, ×",
    "costs": "CPU of releasing a step, in steps run",
    "off_steps": "steps off the pace",
}
RATES = (500.0, 5_000.0)
SLOW = 0.2
_BOOT = 2.0  # seconds until a dispatcher runs, and once more until it has come up with what is due
_LOOK = 0.5  # between two looks at all totals, each of which reads all that is paused or released
_NOTICED = 3.0  # seconds after the death of a server
_NOW = "SELECT EXTRACT(epoch FROM clock_timestamp())::float8"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Release at each pace, and kill the server that does it half-way."""
    for rate in run.some(RATES, 1):
        steps = run.size(100_000, int(4 * rate))
        for _ in run.times(1):
            with product() as made:
                told(series, f"{rate:,.0f}/s", **await _released(run, made, rate, steps))
    with product() as made:
        told(series, f"{SLOW}/s", **await _slowly(run, made))
    return {"paused steps": run.size(100_000, 2_000), "window, s": WINDOW, "noticed, s": _NOTICED}


def targets(series: Series) -> list[Target]:
    """Issue 13, line 3."""
    found = []
    for name in (f"{rate:,.0f}/s" for rate in RATES):
        if not series.has(name, "burst"):
            continue  # a quick run
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
    await client.start("single", execution_id="single")
    await multiplied(made, "single", steps - 1)
    rule_id = (await client.pause(task_name="single", reason="bench")).rule_id
    while await db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)"):
        await asyncio.sleep(0.05)
    return rule_id


async def _released(run: Run, made: Product, rate: float, steps: int) -> dict[str, float]:
    made.serve()
    made.serve()
    window = run.size(8, 1)
    async with made.client() as client, made.db() as db:
        await registered(client)
        await client.start("noop3", execution_id="noop3")
        await multiplied(made, "noop3", run.size(200_000, 60_000))
        await client.start("single", execution_id="due")
        await multiplied(made, "due", int(rate * (window + 2 * _BOOT)))
        await _draining(made, db)
        await _become_due(db, rate)
        _dispatch_paced(made)
        await asyncio.sleep(2 * _BOOT)
        due = await _drained(made, db, window)
        while await db.fetchval(
            "SELECT EXISTS (SELECT FROM zart.queue JOIN zart.lanes USING (lane)"
            " WHERE task_name = 'single')"
        ):
            await asyncio.sleep(0.1)
        made.stop_dispatchers()
        rule_id = await _paused(made, client, db, steps)
        _dispatch_paced(made)
        await _draining(made, db)
        await client.resume(rule_id=rule_id, rate_per_second=rate)
        await asyncio.sleep(1)
        beside = await _drained(made, db, window)
        killed_at, wrong = await _killed(made, db, steps)
        made.stop_dispatchers()
        rows = await db.fetch(
            "SELECT EXTRACT(epoch FROM released_at)::float8 AS at, run_key"
            " FROM zart.released_steps WHERE attempt = 1 ORDER BY at, run_key"
        )
    times, runs = [row["at"] for row in rows], [row["run_key"] for row in rows]
    gaps = [b - a for a, b in pairwise(times) if a <= killed_at + 1 and b >= killed_at]
    after = [at for at in times if at > killed_at + _NOTICED]
    beyond = beside.cpu - due.cpu / due.steps * beside.steps
    return {
        "off_percent": max(off_pace(times, rate, until=killed_at), off_pace(after, rate)),
        "burst": max(Counter(times).values()) / rate,
        "noticed_s": max(gaps, default=0.0),
        "disordered": sum(b < a for a, b in pairwise(runs)),
        "wrong_totals": wrong,
        "others": beside.others / beside.seconds / (due.others / due.seconds),
        "costs": beyond / beside.released / (due.cpu / due.steps),
    }


def _dispatch_paced(made: Product) -> None:
    """Start dispatchers of what is paced, one at each server: either may be killed."""
    for address in made.addresses:
        made.dispatch(CONCURRENCY, address, tasks="bench.noop:single")


async def _draining(made: Product, db: Connection) -> None:
    """Start the dispatcher of the others, and wait until it is at work."""
    known = await db.fetchval("SELECT clock_timestamp()")
    made.dispatch(CONCURRENCY, tasks="bench.noop:noop3")
    while not await db.fetchval(
        "SELECT EXISTS (SELECT FROM zart.leases JOIN zart.lanes USING (lane)"
        " WHERE started_at > $1 AND lanes.task_name = 'noop3')",
        known,
    ):
        await asyncio.sleep(0.02)


async def _become_due(db: Connection, rate: float) -> None:
    """Have queued steps of the task that is paused later become due at a pace by themselves."""
    await db.execute(
        "UPDATE zart.queue q SET not_before = statement_timestamp() + n / $1 * interval '1 second'"
        " FROM (SELECT run_key, row_number() OVER (ORDER BY queue_no)::float8 AS n FROM zart.queue"
        " JOIN zart.lanes USING (lane) WHERE task_name = 'single') t WHERE q.run_key = t.run_key",
        rate,
    )


async def _killed(made: Product, db: Connection, steps: int) -> tuple[float, int]:
    """Kill the server that moves a release half-way, and look at its totals until it has ended.

    What it had leased and could not say is paused and released again, as another attempt.
    Return when it was killed, and how often the totals did not add up.
    """
    killed_at, wrong = 0.0, 0
    while True:
        row = await db.fetchrow(
            "SELECT (SELECT count(*) FROM zart.held) AS held,"
            " (SELECT count(*) FROM zart.held WHERE attempt = 1) AS first_held,"
            " (SELECT count(*) FROM zart.released_steps WHERE attempt = 1) AS first_went,"
            " (SELECT count(*) FROM zart.released_steps) AS went,"
            " (SELECT released_steps FROM zart.pause_releases) AS said"
        )
        assert row is not None
        wrong += row["first_held"] + row["first_went"] != steps or row["said"] != row["went"]
        if not killed_at and row["went"] >= steps / 2:
            mover = await server_at_work(made, db, "INTO zart.released_steps")
            if mover is None:
                raise RuntimeError("no server moves the release")
            mover.popen.kill()
            killed_at = await db.fetchval(_NOW)
            mover.popen.wait()
            made.servers.remove(mover)
        if killed_at and not row["held"]:
            return killed_at, wrong
        await asyncio.sleep(_LOOK)


@dataclass
class _Drained:
    """What was done in a window: steps of the others, of all, and those let go by a rule."""

    others: int
    steps: int
    released: int
    seconds: float
    cpu: float  # seconds, of PostgreSQL, servers and dispatchers


async def _drained(made: Product, db: Connection, seconds: float) -> _Drained:
    """Look on for so long."""
    begun, cpu = await db.fetchval("SELECT clock_timestamp()"), _cpu(made)
    await asyncio.sleep(seconds)
    ended, used = await db.fetchval("SELECT clock_timestamp()"), _cpu(made) - cpu
    row = await db.fetchrow(
        "SELECT count(*) FILTER (WHERE r.listed_task = 'noop3') AS others, count(*) AS steps,"
        " (SELECT count(*) FROM zart.released_steps WHERE released_at > $1 AND released_at <= $2)"
        " AS released FROM zart.steps s JOIN zart.runs r USING (run_key)"
        " WHERE s.completed_at > $1 AND s.completed_at <= $2",
        begun,
        ended,
    )
    assert row is not None
    if not row["others"]:
        raise RuntimeError("there was nothing else to drain")
    return _Drained(**row, seconds=(ended - begun).total_seconds(), cpu=used)


def _cpu(made: Product) -> float:
    return made.postgres_cpu + sum(one.cpu for one in [*made.servers, *made.dispatchers])


async def _slowly(run: Run, made: Product) -> dict[str, float]:
    """Release a few steps at a rate of which each step takes its time."""
    made.serve()
    made.serve()
    steps = run.size(9, 3)
    async with made.client() as client, made.db() as db:
        await registered(client)
        rule_id = await _paused(made, client, db, steps)
        begun = time.monotonic()
        await client.resume(rule_id=rule_id, rate_per_second=SLOW)
        while await db.fetchval("SELECT count(*) FROM zart.held"):
            await asyncio.sleep(0.05)
        took = time.monotonic() - begun
    return {"off_steps": abs(took * SLOW - (steps - 1))}
