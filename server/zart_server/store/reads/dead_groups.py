"""Finds the groups of errors that steps died of, and dead steps by their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from zart_server.domain.errors import ErrorGroupNotFound
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.fingerprint import version_of
from zart_server.store.connection import Connection
from zart_server.store.reads.fitting import dead_arguments
from zart_server.store.reads.listed_runs import Range
from zart_server.store.statement import Statement


class Group(NamedTuple):
    """Errors of a kind: of a group, of one step of a task. Kinds may be of the same group."""

    key: int
    error_group_id: str
    task_name: str
    step_name: str
    type: str
    template: str


_COLUMNS = """g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
        g.former_id, g.former_template"""
_FITS = """CASE WHEN :step_regex::text = '' THEN true ELSE e.step_name ~ :step_regex END
            AND (:task_name::text = '' OR e.task_name = :task_name)
            AND (:error_group_id::text = ''
                 OR :error_group_id IN (e.error_group_id, e.former_id))"""
# Kinds of an id, or of a task, along the index that begins with it: its keys are compared as one
# row, which no other index can answer.
_KINDS_OF = f"""
    SELECT group_key, {_FITS} AS fits
    FROM zart.error_groups e
    WHERE {{0}} IS NOT NULL AND ({{0}}, group_key) >= (:{{1}}::text, 0)
      AND ({{0}}, group_key) <= (:{{1}}, {2**63 - 1})
    ORDER BY {{0}}, group_key LIMIT :looked_at::bigint
"""
_AND_LIVE = " AND EXISTS (SELECT FROM zart.dead_steps WHERE group_key = k.group_key OFFSET 0)"
# Those of all dead steps, from one to the next: what no step is dead of any more is not looked at.
_NEXT = "SELECT group_key FROM zart.dead_steps WHERE group_key > {} ORDER BY group_key LIMIT 1"
_LIVE = f"""live AS (
        ({_NEXT.format(-1)})
        UNION ALL
        SELECT ({_NEXT.format("l.group_key")}) FROM live l WHERE l.group_key IS NOT NULL
    ), """
_LIVE_KINDS = f"""
    SELECT group_key, {_FITS} AS fits
    FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT :looked_at::bigint) l
    CROSS JOIN LATERAL (
        SELECT error_group_id, former_id, task_name, step_name FROM zart.error_groups
        WHERE group_key = l.group_key OFFSET 0) e
"""


def _finding(kinds: str, *, first: str = "", and_also: str = "") -> Statement:
    """Return the query for kinds that fit; a last row says of how many, unless too many fit."""
    return Statement(f"""
        WITH RECURSIVE {first}kinds AS MATERIALIZED ({kinds})
        SELECT * FROM (
            (SELECT {_COLUMNS}
            FROM (
                SELECT group_key FROM kinds k WHERE fits{and_also} LIMIT :most::bigint) k
            CROSS JOIN LATERAL (
                SELECT * FROM zart.error_groups WHERE group_key = k.group_key OFFSET 0) g)
            UNION ALL
            SELECT count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kinds) f
        LIMIT :most
    """)


_OF_ID = _KINDS_OF.format("error_group_id", "error_group_id")
_OF_FORMER_ID = _KINDS_OF.format("former_id", "error_group_id")
_GROUPS = {
    "of id": _finding(f"({_OF_ID}) UNION ALL ({_OF_FORMER_ID})", and_also=_AND_LIVE),
    "of all": _finding(_LIVE_KINDS, first=_LIVE),
    "of task": _finding(_KINDS_OF.format("task_name", "task_name"), and_also=_AND_LIVE),
}


class _Way(NamedTuple):
    """A way to the kinds that fit, and how many kinds it looks at, at most."""

    name: str
    looked_at: int


# In the order in which they are tried. Most tasks have few kinds, whatever else is live. One may
# have had very many in its life of which few are live: so all of its own come last.
_WAYS = (
    _Way("of id", 20_000),
    _Way("of task", 2_000),
    _Way("of all", 10_000),
    _Way("of task", 20_000),
)


@dataclass(frozen=True, slots=True)
class TooMany:
    """More groups fit than are asked for; or ``looked_at``: more kinds would be looked at."""

    looked_at: int | None = None


async def expect_group(connection: Connection, error_group_id: str) -> None:
    """Raise ErrorGroupNotFound unless an error of the group was ever seen."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM zart.error_groups WHERE error_group_id = $1)", error_group_id
    ):
        raise ErrorGroupNotFound(error_group_id)


async def find_groups(
    connection: Connection, wanted: ExecutionFilter, most: int
) -> list[Group] | TooMany:
    """Return the groups with dead steps that a filter asks for, ``most`` at most."""
    values = {
        "step_regex": dead_arguments(wanted)["step_regex"],
        "task_name": wanted.task_name,
        "error_group_id": wanted.error_group_id,
        "most": most + 1,
    }
    is_open = {"of id": wanted.error_group_id, "of all": True, "of task": wanted.task_name}
    bound = 0
    for name, bound in (way for way in _WAYS if is_open[way.name]):
        statement = _GROUPS[name]
        arguments = statement.arguments(looked_at=bound + 1, **values)
        *found, last = await connection.fetch(statement.text, *arguments)
        if last["error_group_id"] is not None:
            return TooMany()
        if last["group_key"] <= bound:
            return [_group(connection, row) for row in found]
    return TooMany(bound)


def _group(connection: Connection, row: asyncpg.Record) -> Group:
    """Return a kind with the group that it is told by: the former until a version is in use."""
    found = Group(*row[:6])
    former_id: str | None = row["former_id"]
    if former_id is None or version_of(found.error_group_id) <= connection.fingerprint.number:
        return found
    return found._replace(error_group_id=former_id, template=row["former_template"])


# The keys of an index are compared as one row, which no other index can answer.
OF_GROUPS = """
    SELECT d.listed_at, d.execution_key, d.run_key, r.listed_task,
        r.status = ANY(:statuses::text[]) AS is_wanted
    FROM (
        SELECT d.* FROM unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
            SELECT listed_at, execution_key, run_key FROM zart.dead_steps
            WHERE (group_key, listed_at, execution_key)
                < (g.group_key, :before::timestamptz, :before_key::bigint)
              AND (group_key, listed_at, execution_key)
                >= (g.group_key, :created_from::timestamptz, 0)
            ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT :limit::bigint) d
        WHERE :task_name::text IS NOT NULL
        ORDER BY listed_at DESC, execution_key DESC LIMIT :limit
    ) d CROSS JOIN LATERAL (
        SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
"""
_DIED_BETWEEN = Statement("""
    SELECT d.run_key FROM unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
        SELECT run_key FROM zart.dead_steps
        WHERE (group_key + 0, died_at) >= (g.group_key, :died_from::timestamptz)
          AND (group_key + 0, died_at) < (g.group_key, :died_before::timestamptz)
        ORDER BY group_key + 0, died_at LIMIT :most::bigint) d
    LIMIT :most
""")


async def runs_that_died_between(
    connection: Connection, groups: Sequence[Group], wanted: ExecutionFilter, most: int
) -> list[int] | None:
    """Return the runs in which steps died of these groups at the time; None: of too many steps."""
    asked = dead_arguments(wanted)
    rows = await connection.fetch(
        _DIED_BETWEEN.text,
        *_DIED_BETWEEN.arguments(
            group_keys=[group.key for group in groups],
            died_from=asked["died_from"],
            died_before=asked["died_before"],
            most=most + 1,
        ),
    )
    return None if len(rows) > most else list({row[0] for row in rows})


_COUNT_BETWEEN = Statement("""
    SELECT count(*) FROM (
        SELECT FROM unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
            SELECT FROM zart.dead_steps
            WHERE (group_key + 0, died_at) >= (g.group_key, :died_from::timestamptz)
              AND (group_key + 0, died_at) < (g.group_key, :died_before::timestamptz)
            ORDER BY group_key + 0, died_at LIMIT :most::bigint) d
        LIMIT :most) d
""")


async def count_died_between(
    connection: Connection, groups: Sequence[Group], wanted: ExecutionFilter, most: int
) -> int:
    """Count the steps that died of these groups at the time, ``most`` at most."""
    asked = dead_arguments(wanted)
    found: int = await connection.fetchval(
        _COUNT_BETWEEN.text,
        *_COUNT_BETWEEN.arguments(
            group_keys=[group.key for group in groups],
            died_from=asked["died_from"],
            died_before=asked["died_before"],
            most=most,
        ),
    )
    return found


_COUNT = Statement("""
    SELECT count(*) FROM (
        SELECT FROM unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
            SELECT FROM zart.dead_steps
            WHERE (group_key, listed_at, execution_key)
                < (g.group_key, :before::timestamptz, :before_key::bigint)
              AND (group_key, listed_at, execution_key)
                >= (g.group_key, :created_from::timestamptz, 0)
            LIMIT :most::bigint) d
        LIMIT :most) d
""")


async def count_dead(
    connection: Connection, groups: Sequence[Group], part: Range, most: int
) -> int:
    """Count the dead steps of groups in a range of executions, ``most`` at most."""
    found: int = await connection.fetchval(
        _COUNT.text,
        *_COUNT.arguments(
            group_keys=[group.key for group in groups],
            before=part.before.created_at,
            before_key=part.before.execution_key,
            created_from=part.created_from,
            most=most,
        ),
    )
    return found
