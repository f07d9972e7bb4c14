"""Reads the operations record, newest first."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from zart_server.domain.commands import ListOperations, Page
from zart_server.domain.operations import Operation, OperationKind
from zart_server.store.connection import Connection
from zart_server.store.operations import made_from_json, replaced_from_json
from zart_server.store.statement import Statement

_LOOKED_AT = 5_000

_FIRST = """
    SELECT * FROM zart.operations WHERE {where}
    ORDER BY {order} DESC LIMIT {limit}
"""
# The kinds one by one: the index of an execution's operations has their order within each.
_OF_EXECUTION = Statement(f"""
    SELECT o.* FROM unnest(:kinds::text[]) k(kind) CROSS JOIN LATERAL ({
    _FIRST.format(
        where="(execution_id, kind, operation_key) < (:execution_id::text, k.kind, :before::bigint)"
        " AND (execution_id, kind, operation_key) >= (:execution_id, k.kind, 0)",
        order="execution_id DESC, kind DESC, operation_key",
        limit=":limit::bigint",
    )
}) o ORDER BY operation_key DESC LIMIT :limit
""")
_OF_KIND = Statement(
    _FIRST.format(  # starts are not in the index of kinds
        where="kind <> 'start' AND (kind, operation_key) < (:kind::text, :before::bigint)"
        " AND (kind, operation_key) >= (:kind, 0)",
        order="kind DESC, operation_key",
        limit=":limit::bigint",
    )
)
_ALL = Statement(
    _FIRST.format(
        where="operation_key < :before::bigint", order="operation_key", limit=":limit::bigint"
    )
)
# Most are starts: so many operations are looked at, `until` is the last of them if others follow.
_STARTS = Statement(f"""
    WITH first AS MATERIALIZED ({
    _FIRST.format(where="operation_key < :before::bigint", order="operation_key", limit=_LOOKED_AT)
})
    SELECT o.*, until FROM (
        SELECT CASE count(*) WHEN {_LOOKED_AT} THEN min(operation_key) END AS until FROM first) e
    LEFT JOIN LATERAL (
        SELECT * FROM first WHERE kind = 'start' ORDER BY operation_key DESC LIMIT :limit::bigint
    ) o ON true
""")


async def list_operations(
    connection: Connection, wanted: ListOperations, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[Operation]:
    """List operations, newest first.

    Of the kind START a page may have fewer than ``limit`` although others follow.
    """
    before = 2**63 - 1 if cursor is None else int(cursor[0])
    rows = await _read(connection, wanted, before, limit + 1)
    until: int | None = None
    if wanted.kind is OperationKind.START and not wanted.execution_id:
        until = rows[0]["until"]
        rows = [row for row in rows if row["operation_key"] is not None]
    if len(rows) > limit:
        until = rows[limit - 1]["operation_key"]
    return Page(
        tuple(
            Operation(
                operation_id=str(row["operation_key"]),
                kind=OperationKind(row["kind"]),
                execution_id=row["execution_id"],
                run_number=row["run_number"],
                step_name=row["step_name"],
                rule_id=row["rule_id"],
                task_name=row["task_name"],
                triggered_by=row["triggered_by"],
                principal=row["principal"],
                reason=row["reason"],
                request_id=row["request_id"],
                incident=row["incident"],
                created_at=row["created_at"],
                replaced=replaced_from_json(row["replaced"]),
                made=made_from_json(row["made"]),
            )
            for row in rows[:limit]
        ),
        None if until is None else (until,),
    )


async def _read(
    connection: Connection, wanted: ListOperations, before: int, limit: int
) -> Sequence[asyncpg.Record]:
    """Return the operations before one, newest first: of one execution, or of all."""
    values: dict[str, object] = {"before": before, "limit": limit}
    if wanted.execution_id:
        statement = _OF_EXECUTION
        kinds = [wanted.kind] if wanted.kind else list(OperationKind)
        values |= {"kinds": kinds, "execution_id": wanted.execution_id}
    elif wanted.kind is OperationKind.START:
        statement = _STARTS
    elif wanted.kind is not None:
        statement = _OF_KIND
        values["kind"] = wanted.kind
    else:
        statement = _ALL
    return await connection.fetch(statement.text, *statement.arguments(**values))
