"""Items of batches: taken in their order, and told what became of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from zart_server.domain.batches import BatchItem, BatchItemStatus, BatchStatus
from zart_server.domain.commands import Page
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.domain.operations import Refusal
from zart_server.store.batches.made import MADE
from zart_server.store.batches.rows import BatchRow
from zart_server.store.connection import Connection, Tx
from zart_server.store.lookups import only
from zart_server.store.operations import to_text
from zart_server.store.statement import Statement

_LOOKED_AT = 2_000


class PendingItem(NamedTuple):
    """An item as it was frozen. Of an execution, without a step and an attempt."""

    item_no: int
    execution_id: str
    execution_key: int
    run_number: int
    step_name: str
    attempt: int | None


async def pending_items(tx: Tx, batch_key: int, after: int, limit: int) -> list[PendingItem]:
    """Return the next items that are pending. Only whoever has locked the batch changes them."""
    rows = await tx.fetch(
        "SELECT item_no, execution_id, execution_key, run_number, step_name, attempt"
        " FROM zart.batch_items WHERE batch_key = $1 AND status = 'pending' AND item_no > $2"
        " ORDER BY item_no LIMIT $3",
        batch_key,
        after,
        limit,
    )
    return [PendingItem(*row) for row in rows]


_WRITE = Statement(
    f"""
    UPDATE zart.batch_items i SET refusal = u.refusal, done_at = statement_timestamp(),
        status = CASE WHEN u.refusal IS NULL THEN 'done' ELSE 'refused' END
    FROM (
        SELECT :batch_key::bigint AS batch_key, 'pending' AS status, r.*
        FROM json_to_recordset(:results::text::json)
            r(item_no integer, refusal json) OFFSET 0) u
    WHERE i.batch_key = {only("u.batch_key")} AND i.item_no = u.item_no
      AND i.status = u.status
    """,
    locks=("batch_items, whose batch the caller has locked",),
)


async def write_results(
    tx: Tx, batch_key: int, results: Sequence[tuple[PendingItem, Refusal | None]]
) -> None:
    """Write that items are done, or why they are refused."""
    text = to_text(
        [
            {"item_no": item.item_no} | ({} if why is None else {"refusal": asdict(why)})
            for item, why in results
        ]
    )
    await tx.execute(_WRITE.text, *_WRITE.arguments(batch_key=batch_key, results=text))


# By the index of statuses, in its order, whatever part of all items is said to have one: through
# the others of a large batch it takes seconds.
_PAGE = Statement(
    f"""
    SELECT i.item_no, i.execution_id, i.run_number, i.step_name, i.status, i.refusal, i.done_at,
        COALESCE(m.run_status, l.status) AS run_status, m.step_status, o.operation_key
    FROM (
        SELECT n.* FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT * FROM zart.batch_items
            WHERE batch_key = :batch_key AND batch_items.status BETWEEN s.status AND s.status
              AND item_no > :after::bigint
            ORDER BY batch_items.status, item_no LIMIT :limit::integer) n
        ORDER BY item_no LIMIT :limit) i
    LEFT JOIN LATERAL ({MADE}) m ON true
    LEFT JOIN LATERAL (
        SELECT status FROM zart.runs
        WHERE i.execution_key IS NULL AND runs.run_key = i.run_key OFFSET 0) l ON true
    LEFT JOIN LATERAL (
        SELECT max(operation_key) AS operation_key FROM (
            SELECT operation_key FROM zart.operations
            WHERE i.status = 'done' AND operations.execution_id = i.execution_id
              AND kind = :kind AND operations.batch_id = :batch_id
              AND operations.step_name = i.step_name
            UNION ALL
            SELECT operation_key FROM zart.operation_attempts
            WHERE i.status = 'refused' AND operation_attempts.execution_id = i.execution_id
              AND kind = :kind AND operation_attempts.batch_id = :batch_id
              AND operation_attempts.step_name = i.step_name) both_tables) o ON true
    ORDER BY i.item_no
    """
)


async def list_items(
    connection: Connection,
    row: BatchRow,
    statuses: Sequence[BatchItemStatus],
    step_statuses: Sequence[StepStatus],
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[BatchItem]:
    """List items in their order; with ``step_statuses`` a page may have fewer than there are."""
    unfinished = (
        BatchItemStatus.CANCELLED
        if row.batch.status is BatchStatus.CANCELLED
        else BatchItemStatus.PENDING
    )
    shown = {
        "pending": unfinished,
        "done": BatchItemStatus.DONE,
        "refused": BatchItemStatus.REFUSED,
    }
    looked_at = _LOOKED_AT if step_statuses else limit + 1
    kind = row.batch.operation.kind
    values = _PAGE.arguments(
        statuses=[stored for stored, as_ in shown.items() if not statuses or as_ in statuses],
        batch_key=row.batch_key,
        batch_id=row.batch.batch_id,
        kind=kind.recorded_as.value,
        made=int(kind.makes_runs),
        after=0 if cursor is None else int(cursor[0]),
        limit=looked_at,
    )
    rows = await connection.fetch(_PAGE.text, *values)
    until = rows[-1]["item_no"] if len(rows) == looked_at else None
    wanted = set(step_statuses)
    found = [r for r in rows if not wanted or _step_status(r["step_status"]) in wanted]
    if len(found) > limit:
        found = found[:limit]
        until = found[-1]["item_no"]
    return Page(
        tuple(
            BatchItem(
                execution_id=r["execution_id"],
                run_number=r["run_number"],
                step_name=r["step_name"],
                status=shown[r["status"]],
                operation_id="" if r["operation_key"] is None else str(r["operation_key"]),
                refusal=None if r["refusal"] is None else Refusal(**json.loads(r["refusal"])),
                done_at=r["done_at"],
                step_status=_step_status(r["step_status"]),
                run_status=None if r["run_status"] is None else RunStatus(r["run_status"]),
            )
            for r in found
        ),
        tuple((r["item_no"],) for r in found),
        None if until is None else (until,),
    )


def _step_status(status: str | None) -> StepStatus | None:
    return None if status is None else StepStatus(status)
