"""Puts dead steps of current runs into the groups of another version of the fingerprint.

A step that was regrouped is of a kind that has both groups, so that either id finds it. Kinds like
that are made, and deleted once nothing is of them, by who has the regrouping to itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.error_kinds import ErrorKind
from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.dead_steps import ListedDeath, list_by_kinds
from zart_server.store.leases import error_from_json
from zart_server.store.lookups import only
from zart_server.store.statement import Statement

_LOCK = 0x7A61_7275


class FoundKind(NamedTuple):
    """A kind of errors that is there, and when it was seen first."""

    key: int
    kind: ErrorKind
    first_seen: datetime


class Regrouped(NamedTuple):
    """A dead step that is to be of another kind, which was seen first at a time."""

    dead: ListedDeath
    kind: ErrorKind
    first_seen: datetime


async def has_regrouping_to_itself(tx: Tx) -> bool:
    """Take the regrouping until the end of the transaction; False: another server has it."""
    is_alone: bool = await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK)
    return is_alone


_COLUMNS = """g.group_key, g.task_name, g.step_name, g.error_group_id, g.type, g.template,
        g.former_id, g.former_template, g.first_seen"""
# From one to the next, as store.reads.dead_groups does: what no step is of is not looked at.
_NEXT = "SELECT group_key FROM zart.dead_steps WHERE group_key > {} ORDER BY group_key LIMIT 1"
_LIVE = Statement(f"""
    WITH RECURSIVE live AS (
        ({_NEXT.format(":after::bigint")})
        UNION ALL
        SELECT ({_NEXT.format("l.group_key")}) FROM live l WHERE l.group_key IS NOT NULL
    )
    SELECT {_COLUMNS} FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT :most::bigint) l
    CROSS JOIN LATERAL (
        SELECT * FROM zart.error_groups WHERE group_key = l.group_key OFFSET 0) g
""")
_WITH_FORMER = Statement(f"""
    SELECT {_COLUMNS} FROM zart.error_groups g
    WHERE former_id IS NOT NULL ORDER BY former_id, group_key LIMIT :most::bigint
""")


async def find_live_kinds(connection: Connection, after: int, most: int) -> list[FoundKind]:
    """Return kinds that steps are dead of, in the order of their keys, after one of these."""
    rows = await connection.fetch(_LIVE.text, *_LIVE.arguments(after=after, most=most))
    return [FoundKind(row[0], ErrorKind(*row[1:8]), row[8]) for row in rows]


async def find_kinds_with_former(connection: Connection, most: int) -> list[FoundKind]:
    """Return kinds that have a former group, whether a step is dead of them or not."""
    rows = await connection.fetch(_WITH_FORMER.text, *_WITH_FORMER.arguments(most=most))
    return [FoundKind(row[0], ErrorKind(*row[1:8]), row[8]) for row in rows]


_OF_KINDS = Statement(
    """
    SELECT d.run_key, d.step_no, d.group_key, d.died_at, s.error
    FROM unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
        SELECT run_key, step_no, group_key, died_at FROM zart.dead_steps
        WHERE (group_key, listed_at, execution_key) >= (g.group_key, '-infinity', 0)
          AND (group_key, listed_at, execution_key) < (g.group_key, 'infinity', 0)
        ORDER BY group_key, listed_at, execution_key LIMIT :most::bigint
        FOR UPDATE SKIP LOCKED) d
    CROSS JOIN LATERAL (
        SELECT error FROM zart.steps WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s
    LIMIT :most
    """,
    locks=("dead_steps, passing over locked rows",),
)


async def find_dead_of(
    connection: Connection, group_keys: Collection[int], most: int
) -> list[ListedDeath]:
    """Return dead steps of some kinds; not those that others have locked.

    To be asked outside of a transaction, that the rows are locked no longer than it takes.
    """
    values = _OF_KINDS.arguments(group_keys=list(group_keys), most=most)
    rows = await connection.fetch(_OF_KINDS.text, *values)
    return [ListedDeath(row[0], row[1], row[2], row[3], error_from_json(row[4])) for row in rows]


_PUT_KINDS = Statement(
    """
    INSERT INTO zart.error_groups AS g (group_key, task_name, step_name, error_group_id, type,
        template, former_id, former_template, first_seen)
    SELECT * FROM unnest(:kinds::text::bigint[], :task_names::text[], :step_names::text[],
        :ids::text[], :types::text[], :templates::text[], :former_ids::text[],
        :former_templates::text[], :first_seen::timestamptz[]) u(group_key)
    ORDER BY group_key
    ON CONFLICT (group_key) DO UPDATE SET first_seen = excluded.first_seen
        WHERE excluded.first_seen < g.first_seen
    """
)


async def move_dead(tx: Tx, moved: Sequence[Regrouped]) -> int:
    """Have dead steps be of other kinds, as ``list_by_kinds`` does; return how many are.

    The caller has the regrouping to itself.
    """
    seen: dict[ErrorKind, datetime] = {}
    for one in moved:
        seen[one.kind] = min(one.first_seen, seen.get(one.kind, one.first_seen))
    tasks, steps, ids, types, templates, former_ids, former_templates = zip(*seen, strict=True)
    values = _PUT_KINDS.arguments(
        kinds=numbers(kind.key for kind in seen),
        task_names=tasks,
        step_names=steps,
        ids=ids,
        types=types,
        templates=templates,
        former_ids=former_ids,
        former_templates=former_templates,
        first_seen=list(seen.values()),
    )
    await tx.execute(_PUT_KINDS.text, *values)
    return await list_by_kinds(tx, [one.dead for one in moved], [one.kind for one in moved])


_DELETE = Statement(
    f"""
    DELETE FROM zart.error_groups g USING unnest(:group_keys::bigint[]) u(group_key)
    WHERE g.group_key = {only("u.group_key")} AND former_id IS NOT NULL AND (
        SELECT true FROM zart.dead_steps WHERE group_key = u.group_key LIMIT 1) IS NULL
    """,
    locks=("error_groups",),
)


async def delete_kinds_with_former(tx: Tx, group_keys: Collection[int]) -> int:
    """Delete kinds that no step is of; return how many. The caller has the regrouping to itself."""
    values = _DELETE.arguments(group_keys=list(group_keys))
    return await tx.execute(_DELETE.text, *values)
