"""CancelBatch: ends a batch before all of its items are done."""

from __future__ import annotations

from zart_server.domain.batches import Batch, BatchStatus, OneBatch
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BatchFinished
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.one_batch import changed_batch, locked_batch
from zart_server.store.batches.states import set_cancelled
from zart_server.store.connection import Tx


async def cancel_batch(tx: Tx, command: OneBatch, caller: Caller) -> Batch:
    """End a batch, also one that is being prepared; one that is cancelled stays as it is.

    Raises BatchNotFound or BatchFinished.
    """
    row = await locked_batch(tx, command.batch_id)
    if row.batch.status is BatchStatus.CANCELLED:
        return row.batch
    if row.batch.status is BatchStatus.COMPLETED:
        raise BatchFinished(command.batch_id, row.batch.status)
    await set_cancelled(tx, row.batch_key)
    return await changed_batch(tx, OperationKind.CANCEL_BATCH, row, caller)
