"""Dead steps of current runs, listed by the group of their error as they die."""

from __future__ import annotations

from collections.abc import Sequence
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
# waiting for the end of this transaction; all take them in one order.
_KINDS = """
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template)
    SELECT * FROM unnest(:kinds::text::bigint[], :ids::text[], :task_names::text[],
        :step_names::text[], :types::text[], :templates::text[]) u(group_key)
    ORDER BY group_key
    ON CONFLICT (group_key) DO NOTHING
"""
_RECORD = Statement(
    f"""
    WITH died AS MATERIALIZED (
        SELECT * FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
            :group_keys::text::bigint[]) u(run_key, step_no, group_key)
    ), counted AS (
        UPDATE zart.runs r SET dead_steps = r.dead_steps + u.n, dead_listed = r.dead_listed + u.n
        FROM (SELECT run_key, count(*)::integer AS n FROM died GROUP BY run_key) u
        WHERE r.run_key = {only("u.run_key")}
    ), listed AS (
        INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
        SELECT d.run_key, d.step_no, r.execution_key, d.group_key, r.listed_at, s.completed_at
        FROM died d CROSS JOIN LATERAL (
            SELECT execution_key, listed_at FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT completed_at FROM zart.steps
            WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s
    ), kinds AS ({_KINDS})
    SELECT
    """,
    locks=("runs, which the caller has locked",),
)


def _steps(deaths: Sequence[Death]) -> dict[str, object]:
    keys = {kind: kind.key for kind in {death.kind for death in deaths}}
    return {
        "run_keys": numbers(death.run_key for death in deaths),
        "step_nos": numbers(death.step_no for death in deaths),
        "group_keys": numbers(keys[death.kind] for death in deaths),
    }


def _kinds(deaths: Sequence[Death]) -> dict[str, object]:
    kinds = dict.fromkeys(death.kind for death in deaths)
    tasks, steps, ids, types, templates, *_ = zip(*kinds, strict=True)
    return {
        "kinds": numbers(kind.key for kind in kinds),
        "ids": ids,
        "task_names": tasks,
        "step_names": steps,
        "types": types,
        "templates": templates,
    }


async def record_deaths(tx: Tx, deaths: Sequence[Death]) -> None:
    """Count and list steps that died in this transaction, which has locked their runs."""
    await tx.execute(_RECORD.text, *_RECORD.arguments(**_steps(deaths), **_kinds(deaths)))


class UntoldDeath(NamedTuple):
    """A step that is listed as dead, but not yet by the group of its error."""

    run_key: int
    step_no: int
    definition_key: int
    died_at: datetime
    error: StepError | None


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
_PUT_KINDS = Statement(_KINDS)
_TELL = Statement(
    f"""
    -- No kind has the key -1. By IS NULL it might look at all that is not told, by their index.
    WITH unlocked AS MATERIALIZED (
        SELECT d.run_key, d.step_no, u.group_key
        FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
            :group_keys::text::bigint[], :died_at::timestamptz[]) u(run_key, step_no, group_key,
            died_at)
        CROSS JOIN LATERAL (
            SELECT * FROM zart.dead_steps x
            WHERE x.run_key = {only("u.run_key")} AND x.step_no = u.step_no
              AND COALESCE(x.group_key, -1) = -1 AND x.died_at = u.died_at
            FOR UPDATE SKIP LOCKED) d
    )
    UPDATE zart.dead_steps d SET group_key = u.group_key FROM unlocked u
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
    return [UntoldDeath(row[0], row[1], row[2], row[3], error_from_json(row[4])) for row in rows]


async def tell_kinds(tx: Tx, deaths: Sequence[tuple[Death, datetime]]) -> int:
    """List dead steps by the kind of their error, if they died then; return how many are.

    Not those that somebody has told of by now, nor those that others have locked. Nothing is waited
    for once a row is locked: whoever retries a step waits for it under the pause lock.
    """
    told = [death for death, _ in deaths]
    await tx.execute(_PUT_KINDS.text, *_PUT_KINDS.arguments(**_kinds(told)))
    died_at = [when for _, when in deaths]
    return await tx.execute(_TELL.text, *_TELL.arguments(**_steps(told), died_at=died_at))
