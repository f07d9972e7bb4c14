"""Counts what is to be done and what is dead, by task, in a few milliseconds however much it is.

What takes many pages is estimated: of a table a part of its pages is read, always the same ones as
long as it does not grow, so that what is shown goes up and down with what there is. What is not to
be missed, however little it is, is looked up besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.store.connection import Connection
from zart_server.store.reads.listed_runs import DEAD
from zart_server.store.statement import Statement

# How many pages of a table are read: those of the queue hold about twenty thousand tasks. For each
# dead step its run is looked up.
_PAGES = {"queue": 250, "held": 250, "leases": 150, "dead_steps": 20}
# Of rules, and of tasks with each status of their runs, so many are looked up besides: in 3 ms.
_MOST_LOOKED_UP = 500
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


_RULES_WITH_PAUSED = Statement("""
    SELECT u.rule_key FROM unnest(:rule_keys::bigint[]) u(rule_key) CROSS JOIN LATERAL (
        SELECT FROM zart.held WHERE rule_key = u.rule_key
        ORDER BY rule_key DESC, not_before DESC, queue_no DESC LIMIT 1) h
""")


async def estimate_paused(
    connection: Connection, part: float, rule_keys: Sequence[int] = ()
) -> EstimatedPaused:
    """Return about how many tasks are paused by lane, and by rule, judging by a part of them.

    Each of the rules ``rule_keys`` that has any has one at least; of those that the part lacks the
    first five hundred are looked up.
    """
    rows = await connection.fetch(_PAUSED.text, *_PAUSED.arguments(percent=100 * part))
    found = EstimatedPaused(
        {row[0]: row[2] / part for row in rows if row[1] is None},
        {row[1]: row[2] / part for row in rows if row[0] is None},
    )
    missing = [key for key in rule_keys if key not in found.by_rule] if part < 1 else []
    values = _RULES_WITH_PAUSED.arguments(rule_keys=missing[:_MOST_LOOKED_UP])
    for row in await connection.fetch(_RULES_WITH_PAUSED.text, *values) if missing else ():
        found.by_rule[row[0]] = 1.0
    return found


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


# From one task and status to the next: however many dead steps there are, only so many are met.
_TASKS_WITH_DEAD = Statement(f"""
    WITH RECURSIVE found(listed_task, status) AS (
        SELECT ''::text COLLATE "C", ''::text
        UNION ALL
        SELECT r.* FROM found f CROSS JOIN LATERAL (
            SELECT listed_task, status FROM zart.runs
            WHERE {DEAD} AND (listed_task, status) > (f.listed_task, f.status)
            ORDER BY listed_task, status, listed_at, execution_key LIMIT 1) r
    )
    SELECT listed_task, bool_or(status = 'failed') FROM (
        SELECT * FROM found LIMIT 1 + :most::bigint) f
    WHERE listed_task <> ''
    GROUP BY listed_task
""")


async def estimate_dead(connection: Connection, part: float) -> list[Dead]:
    """Return about how many steps are dead by task, judging by a part of them.

    A task that has any has one at least; the first tasks by their names are looked up: five
    hundred, fewer if their runs with dead steps are of several statuses.
    """
    rows = await connection.fetch(_DEAD.text, *_DEAD.arguments(percent=100 * part))
    found = {row[0]: Dead(row[0], row[1] / part, row[2] / part) for row in rows}
    if part < 1:
        values = _TASKS_WITH_DEAD.arguments(most=_MOST_LOOKED_UP)
        for task, has_failed in await connection.fetch(_TASKS_WITH_DEAD.text, *values):
            _, steps, failed_runs = found.get(task, (task, 1.0, 0.0))
            found[task] = Dead(task, steps, max(failed_runs, float(has_failed)))
    return list(found.values())
