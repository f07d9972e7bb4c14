"""Rows of batches: read, made, and changed by their callers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import asyncpg

from zart_server.domain.batch_counts import Counts
from zart_server.domain.batches import (
    Batch,
    BatchOperation,
    BatchPauseCause,
    BatchStatus,
    BatchStop,
    CreateBatch,
    Pace,
    Selection,
)
from zart_server.domain.commands import Caller, Page
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.operations import OperationKind
from zart_server.store.connection import Connection, Tx
from zart_server.store.heavy_rows import PAGE_BYTES, first_of
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.statement import Statement

_OWN = """batch_key, batch_id, status, pause_cause, operation, selection, as_of,
    prepared_until, is_prepared, last_item, selected, done, refused, rate_per_second, canary,
    canary_left, max_failures, failures_before, created_by, principal, reason, incident, error,
    created_at, started_at, completed_at, going_since, passed_before, traceparent,
    statement_timestamp() AS now"""
# What somebody stopped is told with who did: after that nothing is done to it, but for another
# pace, so it is near the end of a batch's operations. They are read from there in the order of
# their index, and no further than to it: of all of them there may be millions. Where so many that
# came later do not have it, it was removed. The keys are compared with their batch, not alone: by
# those alone, all operations there are might be gone through.
_STOP = f"""
    CASE WHEN batches.pause_cause = 'operator'
        OR (batches.status = 'cancelled' AND batches.error = '') THEN (
        SELECT ROW(o.created_at, o.triggered_by, o.principal, o.reason, o.incident) FROM (
            SELECT * FROM zart.operations
            WHERE batch_id <> '' AND kind <> 'start'
              AND (batch_id, operation_key) <= (batches.batch_id, {2**63 - 1})
              AND (batch_id, operation_key) >= (batches.batch_id, 0)
            ORDER BY batch_id DESC, operation_key DESC LIMIT 10000) o
        WHERE o.kind = CASE batches.status
            WHEN 'cancelled' THEN 'cancel_batch' ELSE 'pause_batch' END
        ORDER BY o.batch_id DESC, o.operation_key DESC LIMIT 1)
    END AS stop"""
COLUMNS = f"{_OWN}, {_STOP}"

UNCOUNTED = -1  # failures from before a batch was resumed, of too many items to count them then


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch by its key, and what only its servers know of it."""

    batch_key: int
    prepared_until: Any
    is_prepared: bool
    last_item: int
    canary_left: int | None
    failures_before: int
    traceparent: str | None
    batch: Batch

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> BatchRow:
        """Return the batch in a row of ``COLUMNS``."""
        cause, until = row["pause_cause"], row["prepared_until"]
        pace = Pace(row["rate_per_second"], row["canary"], row["max_failures"])
        counts = Counts(row["selected"], row["done"], row["refused"])
        going = _Going(row["going_since"], row["passed_before"] or 0)
        status, stop = BatchStatus(row["status"]), row["stop"]
        return cls(
            row["batch_key"],
            None if until is None else json.loads(until),
            row["is_prepared"],
            row["last_item"],
            row["canary_left"],
            row["failures_before"],
            row["traceparent"],
            Batch(
                batch_id=row["batch_id"],
                status=status,
                pause_cause=BatchPauseCause(cause) if cause else None,
                operation=BatchOperation.of_json(json.loads(row["operation"])),
                selection=_selection(json.loads(row["selection"])),
                as_of=row["as_of"],
                counts=counts,
                pace=pace,
                created_by=row["created_by"],
                principal=row["principal"],
                reason=row["reason"],
                incident=row["incident"],
                error=row["error"],
                created_at=row["created_at"],
                started_at=row["started_at"],
                completed_at=row["completed_at"],
                expected_end_at=_expected_end(
                    status, counts, pace.rate_per_second, going, row["now"]
                ),
                stop=None if stop is None else BatchStop(*stop),
            ),
        )


def _selection(values: Mapping[str, Any]) -> Selection:
    chosen = values["filter"]
    return Selection(
        tuple(values["execution_ids"]), None if chosen is None else ExecutionFilter.of_json(chosen)
    )


class _Going(NamedTuple):
    """Since when a batch goes as it does now, and how many items were done or refused by then.

    Since None: it has done nothing yet since it began or was resumed, or its pace was changed.
    """

    since: datetime | None
    passed: int


def _expected_end(
    status: BatchStatus, counts: Counts, rate: float | None, going: _Going, now: datetime
) -> datetime | None:
    """Return when a batch will be done if it goes on as it does, to the second."""
    if status is not BatchStatus.RUNNING:
        return None
    if rate is None:
        passed = counts.done + counts.refused - going.passed
        if going.since is None or passed <= 0 or now <= going.since:
            return None
        rate = passed / (now - going.since).total_seconds()
    try:
        return (now + timedelta(seconds=counts.left / rate)).replace(microsecond=0)
    except OverflowError:
        return None


async def find_batches(connection: Connection, batch_ids: Sequence[str]) -> list[BatchRow]:
    """Return those of the batches that there are."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM zart.batches WHERE batch_id = ANY($1::text[])", batch_ids
    )
    return [BatchRow.from_row(row) for row in rows]


async def read_batch(connection: Connection, batch_id: str) -> BatchRow | None:
    """Return a batch by its id."""
    found = await find_batches(connection, [batch_id])
    return found[0] if found else None


async def is_being_prepared(connection: Connection, batch_id: str) -> bool:
    """Return whether a batch may still get items; no batch does not."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM zart.batches"
        " WHERE batch_id = $1 AND NOT is_prepared AND status <> 'cancelled')",
        batch_id,
    )
    return found


async def batch_of_key(connection: Connection, batch_key: int) -> BatchRow | None:
    """Return a batch by its key."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM zart.batches WHERE batch_key = $1", batch_key
    )
    return None if row is None else BatchRow.from_row(row)


async def ids_of(connection: Connection, batch_key: int, begin: int, limit: int) -> list[str]:
    """Return some of the ids that a batch was created with."""
    found: list[str] | None = await connection.fetchval(
        "SELECT execution_ids[$2 + 1:$2 + $3] FROM zart.batches WHERE batch_key = $1",
        batch_key,
        begin,
        limit,
    )
    return found or []


async def lock_batch(tx: Tx, batch_id: str) -> BatchRow | None:
    """Lock a batch, and return it as it is then: nothing of it is done meanwhile."""
    await tx.execute("SELECT FROM zart.batches WHERE batch_id = $1 FOR NO KEY UPDATE", batch_id)
    return await read_batch(tx, batch_id)


# What it does may have megabytes: a payload, an input or a result, or names of steps. Who stopped
# it is read only of those that are listed.
_SIZE = "octet_length(operation::text) + octet_length(selection::text)"
_LIST = Statement(
    f"""
    WITH found AS (
        SELECT b.* FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT {_OWN} FROM zart.batches
            WHERE (batches.status, batch_key) < (s.status, :before::bigint)
              AND batches.status = s.status
            ORDER BY batches.status DESC, batch_key DESC LIMIT :limit::integer) b
        ORDER BY batch_key DESC LIMIT :limit
    )
    SELECT batches.*, {_STOP} FROM ({first_of("found", _SIZE, "batch_key DESC")}) batches
    ORDER BY batches.batch_key DESC
    """
)


async def list_batches(
    connection: Connection,
    statuses: Sequence[BatchStatus],
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[Batch]:
    """List batches with one of the statuses, or with any, newest first.

    Of heavy ones a page has no more than one beyond 8 MiB.
    """
    values = _LIST.arguments(
        statuses=[status.value for status in statuses or tuple(BatchStatus)],
        before=2**63 - 1 if cursor is None else int(cursor[0]),
        limit=limit + 1,
        page_bytes=PAGE_BYTES,
    )
    found = (await connection.fetch(_LIST.text, *values))[:limit]
    size = sum(len(row["operation"]) + len(row["selection"]) for row in found)
    items = await connection.aside(
        size, lambda: tuple(BatchRow.from_row(row).batch for row in found)
    )
    cursors = tuple((row["batch_key"],) for row in found)
    has_more = bool(found) and found[0]["n_rows"] > len(found)
    return Page(items, cursors, cursors[-1] if has_more else None, size)


_INSERT = Statement(
    """
    INSERT INTO zart.batches (batch_id, operation, selection, execution_ids, as_of,
        rate_per_second, canary, canary_left, max_failures, created_by, principal, reason, incident,
        traceparent)
    VALUES (:batch_id, :operation::text::json, :selection::text::json, :execution_ids::text[],
        COALESCE(:as_of::timestamptz, statement_timestamp()), :rate, :canary::integer,
        :canary::integer, :max_failures, :created_by, :principal, :reason, :incident,
        :traceparent)
    """
)


async def insert_batch(
    tx: Tx, batch_id: str, command: CreateBatch, as_of: datetime | None, caller: Caller
) -> None:
    """Insert a batch without items. ``as_of`` None: now."""
    selection = command.selection
    await tx.execute(
        _INSERT.text,
        *_INSERT.arguments(
            batch_id=batch_id,
            operation=json.dumps(command.operation.to_json(), ensure_ascii=False),
            selection=json.dumps(
                {
                    "execution_ids": selection.shown.execution_ids,
                    "filter": None if selection.filter is None else selection.filter.to_json(),
                }
            ),
            execution_ids=selection.execution_ids or None,
            as_of=as_of,
            rate=command.pace.rate_per_second,
            canary=command.pace.canary,
            max_failures=command.pace.max_failures,
            created_by=caller.triggered_by,
            principal=caller.principal,
            reason=caller.reason,
            incident=caller.incident,
            traceparent=command.traceparent,
        ),
    )


async def record_batch(tx: Tx, kind: OperationKind, batch_id: str, caller: Caller) -> None:
    """Record what was done to a batch as a whole."""
    operation = NewOperation(replace(caller, batch_id=batch_id))
    await record_operations(tx, kind, [operation])
