"""Reads the operations record, newest first."""

from __future__ import annotations

from sqlalchemy import Text, cast, select

from zart_server.domain.commands import ListOperations, Page
from zart_server.domain.model import Operation, OperationKind
from zart_server.store.db import Tx
from zart_server.store.operations import made_from_json, replaced_from_json
from zart_server.store.tables import operations


async def list_operations(
    tx: Tx, wanted: ListOperations, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[Operation]:
    """List operations, newest first."""
    o = operations.c
    statement = (
        select(
            o.operation_key,
            o.kind,
            o.execution_id,
            o.run_number,
            o.step_name,
            o.rule_id,
            o.task_name,
            o.triggered_by,
            o.principal,
            o.reason,
            o.request_id,
            o.created_at,
            cast(o.replaced, Text).label("replaced"),
            cast(o.made, Text).label("made"),
        )
        .order_by(o.operation_key.desc())
        .limit(limit + 1)
    )
    if wanted.execution_id:
        statement = statement.where(o.execution_id == wanted.execution_id)
    if wanted.kind is not None:
        statement = statement.where(o.kind == wanted.kind.value)
    if wanted.kind not in (None, OperationKind.START):
        statement = statement.where(o.kind != "start")  # the index of kinds leaves starts out
    if cursor is not None:
        statement = statement.where(o.operation_key < cursor[0])
    rows = await tx.select(statement)
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
                created_at=row["created_at"],
                replaced=replaced_from_json(row["replaced"]),
                made=made_from_json(row["made"]),
            )
            for row in rows[:limit]
        ),
        (rows[limit - 1]["operation_key"],) if len(rows) > limit else None,
    )
