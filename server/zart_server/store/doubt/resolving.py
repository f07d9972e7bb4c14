"""Resolves attempts in doubt: what was found out, and the operation that says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from zart_server.domain.doubt import InDoubtAttempt, ResolveInDoubt
from zart_server.domain.operations import OperationKind
from zart_server.store.connection import Connection, Tx
from zart_server.store.doubt.rows import COLUMNS, doubt_of
from zart_server.store.lookups import only
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.statement import Statement

_AT = "run_key = :run_key::bigint AND step_no = :step_no::integer AND attempt = :attempt::integer"
_OPERATION = recorded(
    f"json_to_recordset(:records::text::json) u({RECORD}) WHERE EXISTS (SELECT FROM doubt)",
    ":kind",
)
_COLUMNS_OF_D = ", ".join(f"d.{name.strip()}" for name in COLUMNS.split(","))
# Whether it is in doubt is asked of a column that no partial index is for: else the list of all
# that is in doubt, of whatever run, may be read in place of its key.
_IS_OPEN = "resolved_by IS NULL"
# It may wait for the row, and who plans or creates a batch meanwhile knows nothing of it: so it is
# found out as of when it has that.
_RESOLVE = Statement(
    f"""
    WITH doubt AS MATERIALIZED (
        SELECT FROM zart.in_doubt WHERE {_AT} AND {_IS_OPEN} FOR NO KEY UPDATE
    ), operation AS ({_OPERATION} RETURNING operation_key, reason)
    UPDATE zart.in_doubt d SET resolved_at = clock_timestamp(), finding = :finding::text,
        resolved_by = o.operation_key, reason = o.reason
    FROM operation o
    WHERE d.run_key = {only(":run_key")} AND d.step_no = :step_no AND d.attempt = :attempt
    RETURNING {_COLUMNS_OF_D}
    """,
    locks=("in_doubt",),
)


async def resolve(
    tx: Tx, run_key: int, step_no: int, command: ResolveInDoubt, operation: NewOperation
) -> InDoubtAttempt | None:
    """Resolve an attempt and record the operation; None, having done nothing: it is not in doubt.

    Locks its row.
    """
    rows = await tx.fetch(
        _RESOLVE.text,
        *_RESOLVE.arguments(
            run_key=run_key,
            step_no=step_no,
            attempt=command.attempt,
            finding=command.finding.value,
            records=to_text([record_of(operation)]),
            kind=OperationKind.RESOLVE_IN_DOUBT.value,
        ),
    )
    tx.changes.changed([run_key])
    return doubt_of(rows[0]) if rows else None


async def run_in_doubt(
    connection: Connection, execution_id: str, run_number: int
) -> asyncpg.Record | None:
    """Return the run of an attempt: its keys, NULL if there is none. None: no such execution."""
    return await connection.fetchrow(
        """
        SELECT r.run_key, r.definition_key, e.task_name
        FROM (SELECT * FROM zart.executions WHERE execution_id = $1 OFFSET 0) e
        LEFT JOIN LATERAL (
            SELECT run_key, definition_key FROM zart.runs
            WHERE runs.execution_key = e.execution_key AND runs.run_number = $2 OFFSET 0) r ON true
        """,
        execution_id,
        run_number,
    )


class Standing(NamedTuple):
    """An attempt's status, and as what a doubt of it was resolved, by whom and when.

    ``finding`` None: it never was. ``by`` is empty where that is no longer on record.
    """

    status: str
    finding: str | None
    by: str
    at: datetime | None


async def how_it_stands(
    connection: Connection, run_key: int, step_no: int, attempt: int
) -> Standing | None:
    """Return how an attempt stands; None: there is none."""
    row = await connection.fetchrow(
        """
        SELECT a.status, CASE WHEN d.resolved_at IS NOT NULL THEN COALESCE(d.finding, '') END,
            COALESCE((SELECT triggered_by FROM zart.operations
                WHERE operation_key = d.resolved_by), ''), d.resolved_at
        FROM (SELECT * FROM zart.all_attempts
              WHERE run_key = $1 AND step_no = $2 AND attempt = $3) a
        LEFT JOIN LATERAL (
            SELECT * FROM zart.in_doubt
            WHERE in_doubt.run_key = $1 AND in_doubt.step_no = $2 AND in_doubt.attempt = $3
            OFFSET 0) d ON true
        """,
        run_key,
        step_no,
        attempt,
    )
    if row is None:
        return None
    return Standing(*row)


async def resolve_by_operation(
    tx: Tx, steps: Sequence[tuple[int, int, str]], kind: OperationKind
) -> None:
    """Resolve what is in doubt of steps, by the operation on each that was recorded just now.

    A step is given by run key, step number and execution id. It is not told whether the attempts
    happened. The caller has locked the runs and these rows.
    """
    await tx.execute(
        f"""
        UPDATE zart.in_doubt d SET resolved_at = statement_timestamp(),
            resolved_by = o.operation_key, reason = o.reason
        FROM unnest($1::bigint[], $2::integer[], $3::text[]) u(run_key, step_no, execution_id)
        CROSS JOIN LATERAL (
            SELECT operation_key, reason FROM zart.operations
            WHERE operations.execution_id = u.execution_id AND kind = $4
            ORDER BY operation_key DESC LIMIT 1) o
        WHERE d.run_key = {only("u.run_key")} AND d.step_no = u.step_no AND d.{_IS_OPEN}
        """,
        [run_key for run_key, _, _ in steps],
        [step_no for _, step_no, _ in steps],
        [execution_id for _, _, execution_id in steps],
        kind.value,
    )
