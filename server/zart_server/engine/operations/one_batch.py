"""The one batch that an operation is about, locked; and as it is afterwards, with the record."""

from __future__ import annotations

from dataclasses import replace

from zart_server.domain.batches import Batch
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BatchFinished, BatchNotFound
from zart_server.domain.operations import OperationKind
from zart_server.store.batches.rows import BatchRow, lock_batch, read_batch, record_batch
from zart_server.store.connection import Tx


async def locked_batch(tx: Tx, batch_id: str) -> BatchRow:
    """Lock a batch: nothing of it is done meanwhile. Raises BatchNotFound."""
    row = await lock_batch(tx, batch_id)
    if row is None:
        raise BatchNotFound(batch_id)
    return row


async def living_batch(tx: Tx, batch_id: str) -> BatchRow:
    """Lock a batch that is not over. Raises BatchNotFound or BatchFinished."""
    row = await locked_batch(tx, batch_id)
    if row.batch.status.is_finished:
        raise BatchFinished(batch_id, row.batch.status)
    return row


async def changed_batch(tx: Tx, kind: OperationKind, row: BatchRow, caller: Caller) -> Batch:
    """Record what was done to a batch that is locked, and return it as it is now.

    It belongs to the caller's incident; where none is given, to the batch's.
    """
    batch_id = row.batch.batch_id
    incident = caller.incident or row.batch.incident
    await record_batch(tx, kind, batch_id, replace(caller, incident=incident))
    changed = await read_batch(tx, batch_id)  # with who stopped it, which the record tells
    if changed is None:
        raise BatchNotFound(batch_id)
    tx.changes.batches = True
    return changed.batch
