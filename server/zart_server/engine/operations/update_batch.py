"""UpdateBatch: changes the pace of a batch, and how many failures it bears."""

from __future__ import annotations

from zart_server.domain.batches import Batch, UpdateBatch
from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.one_batch import changed_batch, living_batch
from zart_server.store.batches.states import change_pace
from zart_server.store.connection import Tx


async def update_batch(tx: Tx, command: UpdateBatch, caller: Caller) -> Batch:
    """Change what is named; the rest stays. Raises BatchNotFound or BatchFinished."""
    row = await living_batch(tx, command.batch_id)
    rate, failures = row.batch.pace.rate_per_second, row.batch.pace.max_failures
    if command.unpaced or command.rate_per_second is not None:
        rate = command.rate_per_second
    if command.any_failures or command.max_failures is not None:
        failures = command.max_failures
    await change_pace(tx, row.batch_key, rate, failures)
    return await changed_batch(tx, OperationKind.UPDATE_BATCH, command.batch_id, caller)
