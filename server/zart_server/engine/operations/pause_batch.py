"""PauseBatch: has no further item of a batch done until it is resumed."""

from __future__ import annotations

from zart_server.domain.batches import Batch, BatchPauseCause, BatchStatus, OneBatch
from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.one_batch import changed_batch, living_batch
from zart_server.store.batches.states import set_paused
from zart_server.store.connection import Tx


async def pause_batch(tx: Tx, command: OneBatch, caller: Caller) -> Batch:
    """Pause a batch; one that is paused stays as it is. Raises BatchNotFound or BatchFinished."""
    row = await living_batch(tx, command.batch_id)
    if row.batch.status is BatchStatus.PAUSED:
        return row.batch
    await set_paused(tx, row.batch_key, BatchPauseCause.OPERATOR)
    return await changed_batch(tx, OperationKind.PAUSE_BATCH, row, caller)
