"""Reads the operations record, newest first: what was done, and what was planned or refused."""

from __future__ import annotations

import json

import asyncpg

from zart_server.domain.commands import Page
from zart_server.domain.operations import (
    ListOperations,
    Operation,
    OperationKind,
    OperationStatus,
    Refusal,
)
from zart_server.store.connection import Connection
from zart_server.store.heavy_rows import PAGE_BYTES
from zart_server.store.operations import made_from_json, replaced_from_json
from zart_server.store.reads.listed_operations import ATTEMPTED, DONE, read_part

_END = 2**63 - 1


async def list_operations(
    connection: Connection,
    wanted: ListOperations,
    cursor: tuple[int | str, ...] | None,
    limit: int,
    page_bytes: int = PAGE_BYTES,
) -> Page[Operation]:
    """List operations, newest first.

    A page may have fewer than ``limit`` although others follow; of heavy ones it has no more than
    one beyond ``page_bytes``, of each table.
    """
    before = _END if cursor is None else int(cursor[0])
    parts = []
    if OperationStatus.DONE in wanted.statuses:
        parts.append(await read_part(connection, DONE, wanted, before, limit, page_bytes))
    if set(wanted.statuses) - {OperationStatus.DONE}:
        parts.append(await read_part(connection, ATTEMPTED, wanted, before, limit, page_bytes))
    # Keys are of one sequence. Beyond where one table was looked through, nothing is known yet.
    until = max((part.until for part in parts if part.until is not None), default=None)
    rows = [row for part in parts for row in part.rows if row["operation_key"] >= (until or 0)]
    rows.sort(key=lambda row: int(row["operation_key"]), reverse=True)
    if len(rows) > limit:
        rows = rows[:limit]
        until = rows[-1]["operation_key"]
    shown = rows
    size = sum(len(row.get("replaced") or "") + len(row.get("made") or "") for row in shown)
    items = await connection.aside(size, lambda: tuple(map(_operation, shown)))
    cursors = tuple((row["operation_key"],) for row in shown)
    return Page(items, cursors, None if until is None else (until,), size)


def _operation(row: asyncpg.Record) -> Operation:
    refusal = row.get("refusal")
    return Operation(
        operation_id=str(row["operation_key"]),
        kind=OperationKind(row["kind"]),
        status=OperationStatus(row.get("status", OperationStatus.DONE)),
        refusal=Refusal(**json.loads(refusal)) if refusal else None,
        execution_id=row["execution_id"],
        run_number=row["run_number"],
        step_name=row["step_name"],
        rule_id=row["rule_id"],
        task_name=row["task_name"],
        batch_id=row["batch_id"],
        breaker_id=row["breaker_id"],
        triggered_by=row["triggered_by"],
        principal=row["principal"],
        reason=row["reason"],
        request_id=row["request_id"],
        incident=row["incident"],
        created_at=row["created_at"],
        replaced=replaced_from_json(row.get("replaced")),
        made=made_from_json(row.get("made")),
    )
