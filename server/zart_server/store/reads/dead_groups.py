"""Finds the groups of errors that steps died of, and dead steps by their groups."""

from __future__ import annotations

from collections.abc import Sequence
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
_FIT = """CASE WHEN :step_regex::text = '' THEN true ELSE g.step_name ~ :step_regex END
      AND (:task_name::text = '' OR g.task_name = :task_name)"""
_OF_ID_BY = """SELECT * FROM zart.error_groups e WHERE {} = :error_group_id::text AND EXISTS (
            SELECT FROM zart.dead_steps WHERE group_key = e.group_key OFFSET 0)
        ORDER BY group_key LIMIT :most::bigint"""
_OF_ID = Statement(f"""
    SELECT {_COLUMNS} FROM (
        ({_OF_ID_BY.format("error_group_id")}) UNION ALL ({_OF_ID_BY.format("former_id")})) g
    WHERE {_FIT}
""")
# Those of all dead steps, from one to the next: what no step is dead of any more is not looked at.
_NEXT = "SELECT group_key FROM zart.dead_steps WHERE group_key > {} ORDER BY group_key LIMIT 1"
_LIVE = f"""
    WITH RECURSIVE live AS (
        ({_NEXT.format(-1)})
        UNION ALL
        SELECT ({_NEXT.format("l.group_key")}) FROM live l WHERE l.group_key IS NOT NULL
    )
    SELECT {{columns}} FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT :most::bigint) l
    CROSS JOIN LATERAL (
        SELECT * FROM zart.error_groups WHERE group_key = l.group_key OFFSET 0) g
"""
_OF_ALL = Statement(_LIVE.format(columns=f"{_COLUMNS}, {_FIT} AS fits"))


async def expect_group(connection: Connection, error_group_id: str) -> None:
    """Raise ErrorGroupNotFound unless an error of the group was ever seen."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM zart.error_groups WHERE error_group_id = $1)", error_group_id
    ):
        raise ErrorGroupNotFound(error_group_id)


async def find_groups(
    connection: Connection, wanted: ExecutionFilter, most: int
) -> list[Group] | None:
    """Return the groups with dead steps that a filter asks for; None: more than ``most`` have."""
    asked = dead_arguments(wanted)
    values = {"step_regex": asked["step_regex"], "task_name": wanted.task_name, "most": most + 1}
    if wanted.error_group_id:
        values["error_group_id"] = wanted.error_group_id
        rows = await connection.fetch(_OF_ID.text, *_OF_ID.arguments(**values))
        return None if len(rows) > most else [_group(connection, row) for row in rows]
    rows = await connection.fetch(_OF_ALL.text, *_OF_ALL.arguments(**values))
    if len(rows) > most:
        return None
    return [_group(connection, row) for row in rows if row["fits"]]


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
