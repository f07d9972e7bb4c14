"""Dead steps of current runs, listed by the group of their error as they die."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.model import StepError
from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.leases import error_from_json
from zart_server.store.lookups import only
from zart_server.store.statement import Statement


class Death(NamedTuple):
    """A step that died, and of what kind of error."""

    run_key: int
    step_no: int
    kind: ErrorKind


# Kinds that are there already cost a look each. One that is new keeps others that know it, too,
# waiting for the end of this transaction; all take them in one order. It was seen first as its
# first step died, which is some time before this is stored. ``first_seen``: an array.
_KINDS = """
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template,
        first_seen)
    SELECT group_key, id, task_name, step_name, type, template, ({first_seen})[n::integer]
    FROM unnest(:kinds::text::bigint[], :ids::text[], :task_names::text[], :step_names::text[],
        :types::text[], :templates::text[])
        WITH ORDINALITY u(group_key, id, task_name, step_name, type, template, n)
    ORDER BY group_key
    ON CONFLICT (group_key) DO NOTHING
"""
# In the order of the kinds, which is that of their keys: no join has to be planned.
_FIRST_DEATHS = "ARRAY(SELECT min(died_at) FROM died GROUP BY group_key ORDER BY group_key)"
_RECORD = Statement(
    f"""
    WITH died AS MATERIALIZED (
        SELECT u.run_key, u.step_no, u.group_key, s.completed_at AS died_at
        FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
            :group_keys::text::bigint[]) u(run_key, step_no, group_key)
        CROSS JOIN LATERAL (
            SELECT completed_at FROM zart.steps
            WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
    ), counted AS (
        UPDATE zart.runs r SET dead_steps = r.dead_steps + u.n, dead_listed = r.dead_listed + u.n
        FROM (SELECT run_key, count(*)::integer AS n FROM died GROUP BY run_key) u
        WHERE r.run_key = {only("u.run_key")}
    ), listed AS (
        INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
        SELECT d.run_key, d.step_no, r.execution_key, d.group_key, r.listed_at, d.died_at
        FROM died d CROSS JOIN LATERAL (
            SELECT execution_key, listed_at FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
    ), kinds AS ({_KINDS.format(first_seen=_FIRST_DEATHS)})
    SELECT
    """,
    locks=("runs, which the caller has locked",),
)


def _kinds(kinds: Collection[ErrorKind]) -> dict[str, object]:
    """Return kinds as parameters: each once, in the order of their keys."""
    by_key = {kind.key: kind for kind in dict.fromkeys(kinds)}
    keys = sorted(by_key)
    tasks, steps, ids, types, templates, *_ = zip(*(by_key[key] for key in keys), strict=True)
    return {
        "kinds": numbers(keys),
        "ids": ids,
        "task_names": tasks,
        "step_names": steps,
        "types": types,
        "templates": templates,
    }


async def record_deaths(tx: Tx, deaths: Sequence[Death]) -> None:
    """Count and list steps that died in this transaction, which has locked their runs."""
    values = _RECORD.arguments(
        run_keys=numbers(death.run_key for death in deaths),
        step_nos=numbers(death.step_no for death in deaths),
        group_keys=numbers(death.kind.key for death in deaths),
        **_kinds([death.kind for death in deaths]),
    )
    await tx.execute(_RECORD.text, *values)


NOT_TOLD = -1  # which is no kind's key


class ListedDeath(NamedTuple):
    """A dead step of a current run as it is listed: by the key of a kind, or NOT_TOLD."""

    run_key: int
    step_no: int
    group_key: int
    died_at: datetime
    error: StepError | None


class UntoldDeath(NamedTuple):
    """A step that is listed as dead, but not yet by the group of its error."""

    dead: ListedDeath
    definition_key: int


# What a server of an earlier version listed by its change of the run, and what was dead when the
# schema was changed.
_UNTOLD = Statement(
    """
    SELECT d.run_key, d.step_no, r.definition_key, d.died_at, s.error FROM (
        SELECT run_key, step_no, died_at FROM zart.dead_steps
        WHERE group_key IS NULL AND step_no >= 0 ORDER BY step_no LIMIT :most::bigint
        FOR UPDATE SKIP LOCKED) d
    CROSS JOIN LATERAL (
        SELECT definition_key FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT error FROM zart.steps WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s
    """,
    locks=("dead_steps, passing over locked rows",),
)
_PUT_KINDS = Statement(_KINDS.format(first_seen=":first_seen::timestamptz[]"))
# By COALESCE no index finds them but that of their keys: those of groups have all of a kind, or all
# of which nobody has told.
_LIST = Statement(
    f"""
    WITH unlocked AS MATERIALIZED (
        SELECT d.run_key, d.step_no, u.to_key
        FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
            :group_keys::text::bigint[], :died_at::timestamptz[],
            :to_keys::text::bigint[]) u(run_key, step_no, group_key, died_at, to_key)
        CROSS JOIN LATERAL (
            SELECT * FROM zart.dead_steps x
            WHERE x.run_key = {only("u.run_key")} AND x.step_no = u.step_no
              AND COALESCE(x.group_key, {NOT_TOLD}) = u.group_key AND x.died_at = u.died_at
            FOR UPDATE SKIP LOCKED) d
    )
    UPDATE zart.dead_steps d SET group_key = u.to_key FROM unlocked u
    WHERE d.run_key = {only("u.run_key")} AND d.step_no = u.step_no
    """,
    locks=("dead_steps, passing over locked rows",),
)


async def has_untold(connection: Connection) -> bool:
    """Return whether there is a dead step of which nobody has told the kind of its error."""
    # In the order of the index, which PostgreSQL uses then whatever it believes of the table.
    found = await connection.fetchval(
        "SELECT true FROM zart.dead_steps WHERE group_key IS NULL AND step_no >= 0"
        " ORDER BY step_no LIMIT 1"
    )
    return bool(found)


async def find_untold(connection: Connection, most: int) -> list[UntoldDeath]:
    """Return dead steps of which nobody has told the kind of their error.

    To be asked outside of a transaction, that the rows are locked no longer than it takes.
    """
    rows = await connection.fetch(_UNTOLD.text, *_UNTOLD.arguments(most=most))
    return [
        UntoldDeath(ListedDeath(row[0], row[1], NOT_TOLD, row[3], error_from_json(row[4])), row[2])
        for row in rows
    ]


async def tell_kinds(tx: Tx, dead: Sequence[ListedDeath], kinds: Sequence[ErrorKind]) -> int:
    """Have dead steps be of these kinds, which need not be there, as ``list_by_kinds`` does."""
    first: dict[int, datetime] = {}
    for one, kind in zip(dead, kinds, strict=True):
        first[kind.key] = min(one.died_at, first.get(kind.key, one.died_at))
    seen = [first[key] for key in sorted(first)]
    values = _PUT_KINDS.arguments(first_seen=seen, **_kinds(kinds))
    await tx.execute(_PUT_KINDS.text, *values)
    return await list_by_kinds(tx, dead, kinds)


async def list_by_kinds(tx: Tx, dead: Sequence[ListedDeath], kinds: Sequence[ErrorKind]) -> int:
    """Have dead steps be of these kinds, if they still are as they were; return how many are.

    Those that others have locked stay. Nothing is to be waited for from here on: whoever retries a
    step, or starts another run, waits for these rows under the pause lock.
    """
    values = _LIST.arguments(
        run_keys=numbers(one.run_key for one in dead),
        step_nos=numbers(one.step_no for one in dead),
        group_keys=numbers(one.group_key for one in dead),
        died_at=[one.died_at for one in dead],
        to_keys=numbers(kind.key for kind in kinds),
    )
    return await tx.execute(_LIST.text, *values)
