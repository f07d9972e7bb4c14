"""Counts what is to be done and what is dead, by task, in a few milliseconds however much it is.

What takes many pages is estimated: of a table a part of its pages is read, always the same ones as
long as it does not grow, so that what is shown goes up and down with what there is.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

# How many pages of a table are read: those of the queue hold about twenty thousand tasks. For each
# dead step its run is looked up.
_PAGES = {"queue": 250, "held": 250, "leases": 150, "dead_steps": 20}
_SIZES = ", ".join(
    f"pg_relation_size('zart.{table}')::float8 / current_setting('block_size')::float8"
    for table in _PAGES
)


class EstimatedPaused(NamedTuple):
    """How many steps are paused, by the key of their lane, and by that of their rule."""

    by_lane: dict[int, float]
    by_rule: dict[int, float]


class Dead(NamedTuple):
    """How many steps of a task's current runs are dead, and how many of these runs have failed."""

    task_name: str
    steps: float
    failed_runs: float


class Parts(NamedTuple):
    """What part of each table is read (1.0: all of it), and the time by the database's clock."""

    now: datetime
    queue: float
    held: float
    leases: float
    dead_steps: float


async def read_parts(connection: Connection) -> Parts:
    """Return what part of each table may be read in little time."""
    row = await connection.fetchrow(f"SELECT statement_timestamp(), {_SIZES}")
    if row is None:
        raise LookupError("a query without FROM has one row")
    now, *pages = row
    found = zip(_PAGES.values(), pages, strict=True)
    return Parts(now, *(min(most / max(there, 1.0), 1.0) for most, there in found))


def _by_lane(table: str) -> Statement:
    return Statement(f"""
        SELECT lane, count(*) FROM zart.{table}
            TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
        GROUP BY lane
    """)


_QUEUED = _by_lane("queue")


async def estimate_queued(connection: Connection, part: float) -> dict[int, float]:
    """Return about how many tasks are queued by lane, judging by a part of the queue."""
    rows = await connection.fetch(_QUEUED.text, *_QUEUED.arguments(percent=100 * part))
    return {row[0]: row[1] / part for row in rows}


_LEASED = _by_lane("leases")


async def estimate_leased(connection: Connection, part: float) -> dict[int, float]:
    """Return about how many tasks are leased by lane, judging by a part of the leases."""
    rows = await connection.fetch(_LEASED.text, *_LEASED.arguments(percent=100 * part))
    return {row[0]: row[1] / part for row in rows}


# Not by lane and rule: with many of both that would be nearly a group for each task.
_PAUSED = Statement("""
    SELECT lane, rule_key, count(*) FROM zart.held
        TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)
    GROUP BY GROUPING SETS ((lane), (rule_key))
""")


async def estimate_paused(connection: Connection, part: float) -> EstimatedPaused:
    """Return about how many tasks are paused by lane, and by rule, judging by a part of them."""
    rows = await connection.fetch(_PAUSED.text, *_PAUSED.arguments(percent=100 * part))
    return EstimatedPaused(
        {row[0]: row[2] / part for row in rows if row[1] is None},
        {row[1]: row[2] / part for row in rows if row[0] is None},
    )


# A failed run counts once, however many of its steps are dead: each counts as a part of it.
_DEAD = Statement("""
    SELECT r.listed_task, count(*), COALESCE(
        sum(1.0 / GREATEST(r.dead_listed, 1)) FILTER (WHERE r.status = 'failed'), 0)::float8
    FROM (
        SELECT run_key FROM zart.dead_steps
            TABLESAMPLE SYSTEM (:percent::real) REPEATABLE (0)) d
    CROSS JOIN LATERAL (
        SELECT listed_task, status, dead_listed FROM zart.runs
        WHERE run_key = d.run_key OFFSET 0) r
    GROUP BY r.listed_task
""")


async def estimate_dead(connection: Connection, part: float) -> list[Dead]:
    """Return about how many steps are dead by task, judging by a part of them."""
    rows = await connection.fetch(_DEAD.text, *_DEAD.arguments(percent=100 * part))
    return [Dead(row[0], row[1] / part, row[2] / part) for row in rows]
