"""Removes operations that are older than they are kept, and batches that ended before that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from zart_server.store.connection import Tx
from zart_server.store.reads.listed_operations import first_since
from zart_server.store.statement import Statement


class RemovedPiece(NamedTuple):
    """How many were removed, after which to go on, and whether others that are older may follow."""

    removed: int
    until: int
    is_more: bool


# Keys are given out in the order of time, about: where the last of a page is young, so are nearly
# all that follow. It is gone on before the first young one, which will be old by a later pass.
# Young ones before an old one were recorded while the clock was ahead: they stay, but are gone past
# and not taken for old, since that old one may have been recorded while the clock was behind.
_REMOVE = {
    table: Statement(
        f"""
        WITH page AS MATERIALIZED (
            SELECT operation_key, created_at < :before::timestamptz AS is_old FROM zart.{table}
            WHERE operation_key > :after::bigint ORDER BY operation_key LIMIT :limit::bigint
        ), gone AS (
            DELETE FROM zart.{table} WHERE operation_key = ANY(ARRAY(
                SELECT operation_key FROM page WHERE is_old))
            RETURNING operation_key
        )
        SELECT (SELECT count(*) FROM gone), max(operation_key), count(*) = :limit,
            CASE WHEN max(operation_key) FILTER (WHERE is_old) = max(operation_key)
                THEN max(operation_key)
                ELSE COALESCE(min(operation_key) FILTER (WHERE NOT is_old) - 1, :after) END
        FROM page
        """,
        locks=(table,),
    )
    for table in ("operations", "operation_attempts")
}
TABLES = tuple(_REMOVE)


async def remove_operations(
    tx: Tx, table: str, after: int, before: datetime, limit: int
) -> RemovedPiece:
    """Remove, of the next operations, or attempts at some, those that are older than a time."""
    statement = _REMOVE[table]
    (row,) = await tx.fetch(
        statement.text, *statement.arguments(after=after, before=before, limit=limit)
    )
    removed, last, is_full, until = row
    if removed or not is_full:
        return RemovedPiece(removed, until, is_full)
    first_young = await first_since(tx, table, before, timedelta())
    is_passed = first_young is not None and first_young > last + 1
    return RemovedPiece(0, last if is_passed else until, is_passed)


_ITEMS = Statement(
    """
    WITH wanted AS MATERIALIZED (
        SELECT b.batch_id FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
        CROSS JOIN LATERAL (
            SELECT (selection->>'filter')::json->>'batch_id' AS batch_id FROM zart.batches
            WHERE status = s.status AND NOT is_prepared OFFSET 0) b
    ), ended AS MATERIALIZED (
        SELECT b.* FROM unnest(ARRAY['completed', 'cancelled']) s(status) CROSS JOIN LATERAL (
            SELECT batch_key, batch_id, completed_at FROM zart.batches
            WHERE status = s.status ORDER BY status, batch_key LIMIT 100) b
        WHERE completed_at < :before::timestamptz
          AND NOT EXISTS (SELECT FROM wanted w WHERE w.batch_id = b.batch_id OFFSET 0)
        ORDER BY batch_key LIMIT 1
    ), items AS MATERIALIZED (
        SELECT i.* FROM ended e CROSS JOIN LATERAL (
            SELECT batch_key, item_no FROM zart.batch_items WHERE batch_key = e.batch_key
            ORDER BY batch_key, item_no LIMIT :limit::bigint) i
    ), gone AS (
        DELETE FROM zart.batch_items WHERE ctid = ANY(ARRAY(
            SELECT i.row FROM items CROSS JOIN LATERAL (
                SELECT ctid AS row FROM zart.batch_items
                WHERE batch_key = items.batch_key AND item_no = items.item_no OFFSET 0) i))
    ), emptied AS (
        DELETE FROM zart.batches WHERE batch_key = ANY(ARRAY(
            SELECT batch_key FROM ended e
            WHERE (SELECT count(*) FROM items WHERE items.batch_key = e.batch_key) < :limit))
    )
    SELECT count(*) FROM ended
    """,
    locks=("batch_items", "batches"),
)


async def remove_batches(tx: Tx, before: datetime, limit: int) -> bool:
    """Remove some items of a batch that ended before a time, the batch with its last ones.

    Not of one by which a batch selects that is still being prepared. Return whether there was such
    a batch.
    """
    ended: int = await tx.fetchval(_ITEMS.text, *_ITEMS.arguments(before=before, limit=limit))
    return ended > 0
