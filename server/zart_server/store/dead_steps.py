"""Dead steps of current runs, listed by the group of their error as they die."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.model import StepError
from zart_server.store.arrays import Distinct, numbers
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
    kinds AS (
        INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type,
                                       template)
        SELECT * FROM unnest(:kinds::text::bigint[], :ids::text[], :task_names::text[],
            :step_names::text[], :types::text[], :templates::text[]) u(group_key)
        ORDER BY group_key
        ON CONFLICT (group_key) DO NOTHING
    )
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
    ), {_KINDS}
    SELECT
    """,
    locks=("runs, which the caller has locked",),
)


def _arguments(deaths: Sequence[Death]) -> dict[str, object]:
    kinds = Distinct[ErrorKind]()
    of_kind = [kinds.index(death.kind) for death in deaths]
    keys = [kind.key for kind in kinds.values]
    tasks, steps, ids, types, templates, *_ = zip(*kinds.values, strict=True)
    return {
        "run_keys": numbers(death.run_key for death in deaths),
        "step_nos": numbers(death.step_no for death in deaths),
        "group_keys": numbers(keys[n - 1] for n in of_kind),
        "kinds": numbers(keys),
        "ids": ids,
        "task_names": tasks,
        "step_names": steps,
        "types": types,
        "templates": templates,
    }


async def record_deaths(tx: Tx, deaths: Sequence[Death]) -> None:
    """Count and list steps that died in this transaction, which has locked their runs."""
    await tx.execute(_RECORD.text, *_RECORD.arguments(**_arguments(deaths)))


class UntoldDeath(NamedTuple):
    """A step that is listed as dead, but not yet by the group of its error."""

    run_key: int
    step_no: int
    definition_key: int
    error: StepError | None


# What a server of an earlier version listed by its change of the run, and what was dead when the
# schema was changed.
_UNTOLD = Statement(
    """
    SELECT d.run_key, d.step_no, r.definition_key, s.error FROM (
        SELECT run_key, step_no FROM zart.dead_steps
        WHERE group_key IS NULL AND step_no >= 0 ORDER BY step_no LIMIT :most::bigint
        FOR UPDATE SKIP LOCKED) d
    CROSS JOIN LATERAL (
        SELECT definition_key FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT error FROM zart.steps WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s
    """,
    locks=("dead_steps, passing over locked rows",),
)
_TELL = Statement(
    f"""
    WITH {_KINDS}
    UPDATE zart.dead_steps d SET group_key = u.group_key
    FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
        :group_keys::text::bigint[]) u(run_key, step_no, group_key)
    WHERE d.run_key = {only("u.run_key")} AND d.step_no = u.step_no
    """,
    locks=("dead_steps, which the caller has locked",),
)


async def has_untold(connection: Connection) -> bool:
    """Return whether there is a dead step of which nobody has told the kind of its error."""
    # In the order of the index, which PostgreSQL uses then whatever it believes of the table.
    found = await connection.fetchval(
        "SELECT true FROM zart.dead_steps WHERE group_key IS NULL AND step_no >= 0"
        " ORDER BY step_no LIMIT 1"
    )
    return bool(found)


async def find_untold(tx: Tx, most: int) -> list[UntoldDeath]:
    """Return dead steps of which nobody has told the kind of their error, and lock them."""
    rows = await tx.fetch(_UNTOLD.text, *_UNTOLD.arguments(most=most))
    return [UntoldDeath(row[0], row[1], row[2], error_from_json(row[3])) for row in rows]


async def tell_kinds(tx: Tx, deaths: Sequence[Death]) -> None:
    """List dead steps, which the caller has locked, by the kind of their error."""
    await tx.execute(_TELL.text, *_TELL.arguments(**_arguments(deaths)))
