"""Resolves attempts in doubt: what was found out, and the operation that says so."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.operations import OperationKind
from zart_server.store.connection import Tx
from zart_server.store.lookups import only


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
        WHERE d.run_key = {only("u.run_key")} AND d.step_no = u.step_no AND d.resolved_at IS NULL
        """,
        [run_key for run_key, _, _ in steps],
        [step_no for _, step_no, _ in steps],
        [execution_id for _, _, execution_id in steps],
        kind.value,
    )
