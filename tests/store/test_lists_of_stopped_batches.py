"""Who stopped the batches of a list is read of those on its page, and no further than to the record."""

from __future__ import annotations

from hot.explained import explained

from zart_server.store.batches.rows import list_batches
from zart_server.store.db import Database

_PAGE = 5
# Each with what was done to its items, and then by whom it was stopped.
_STOPPED = """
    WITH made AS (
        INSERT INTO zart.batches (batch_id, status, pause_cause, operation, selection, as_of,
            created_by, principal, reason, incident, completed_at)
        SELECT 'ba-' || n, s.status, s.cause, '{"kind": "restart"}',
            '{"execution_ids": [], "filter": null}', now(), '', '', '', '', s.ended
        FROM (VALUES ('paused', 'operator', NULL), ('cancelled', '', now())) s(status, cause, ended),
            LATERAL (SELECT s.status || '-' || g AS n FROM generate_series(1, 40) g) named
        RETURNING batch_id, status
    )
    INSERT INTO zart.operations (kind, batch_id, triggered_by, principal, reason, request_id)
    SELECT CASE WHEN g < 150 THEN 'restart' WHEN status = 'paused' THEN 'pause_batch'
        ELSE 'cancel_batch' END, batch_id, 'bea-' || g, '', '', ''
    FROM made, generate_series(1, 150) g ORDER BY g
"""


async def test_only_the_records_that_are_told_are_read(store: Database) -> None:
    async with explained(store) as tx:
        await tx.sql.execute(_STOPPED)

        page = await list_batches(tx.tx, (), None, _PAGE)

        told = [each.stop.by for each in page.items if each.stop is not None]
        assert told == ["bea-150"] * _PAGE
        assert sum(plan.looked_at("operations") for plan in tx.plans) == _PAGE + 1  # is there more?
