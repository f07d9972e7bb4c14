"""UpdateBatch: changes the pace of a batch, and how many failures it bears."""

from __future__ import annotations

import math

from zart_server.domain.batches import Batch, BatchKind, UpdateBatch
from zart_server.domain.commands import Caller
from zart_server.domain.errors import RoleRequired
from zart_server.domain.identity import Role
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.one_batch import changed_batch, living_batch
from zart_server.store.batches.states import change_pace
from zart_server.store.connection import Tx


async def update_batch(tx: Tx, command: UpdateBatch, caller: Caller) -> Batch:
    """Change what is named; the rest stays.

    Raises BatchNotFound, BatchFinished, or RoleRequired if it cancels executions, is to do so
    faster or after more failures, and its caller may not.
    """
    row = await living_batch(tx, command.batch_id)
    pace = row.batch.pace
    rate, failures = pace.rate_per_second, pace.max_failures
    if command.unpaced or command.rate_per_second is not None:
        rate = command.rate_per_second
    if command.any_failures or command.max_failures is not None:
        failures = command.max_failures
    is_cancelling = row.batch.operation.kind is BatchKind.CANCEL_EXECUTION
    is_loosened = _is_more(rate, pace.rate_per_second) or _is_more(failures, pace.max_failures)
    if is_cancelling and is_loosened and not command.may_cancel_executions:
        raise RoleRequired(Role.STARTER, "to have executions cancelled")
    await change_pace(tx, row.batch_key, rate, failures)
    return await changed_batch(tx, OperationKind.UPDATE_BATCH, row, caller)


def _is_more(limit: float | None, before: float | None) -> bool:
    """Return whether a limit lets more pass than before; None lets everything pass."""
    return (math.inf if limit is None else limit) > (math.inf if before is None else before)
