"""ResumeBatch: has a paused batch go on."""

from __future__ import annotations

from zart_server.domain.batches import (
    EXACT_OUTCOMES,
    Batch,
    BatchKind,
    BatchStatus,
    OneBatch,
)
from zart_server.domain.commands import Caller
from zart_server.domain.errors import RoleRequired
from zart_server.domain.identity import Role
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.one_batch import changed_batch, living_batch
from zart_server.store.batches.made import count_dead_again
from zart_server.store.batches.rows import UNCOUNTED, read_batch
from zart_server.store.batches.states import set_going
from zart_server.store.connection import Tx


async def resume_batch(tx: Tx, command: OneBatch, caller: Caller) -> Batch:
    """Have a batch go on, whatever paused it; failures count anew. Others stay as they are.

    Raises BatchNotFound, BatchFinished, or RoleRequired if it cancels executions and its resumer
    may not.
    """
    dead = await _dead_again(tx, command.batch_id)
    row = await living_batch(tx, command.batch_id)
    kind = row.batch.operation.kind
    if kind is BatchKind.CANCEL_EXECUTION and not command.may_cancel_executions:
        raise RoleRequired(Role.STARTER, "to have executions cancelled")
    if row.batch.status is not BatchStatus.PAUSED:
        return row.batch
    failures = UNCOUNTED if dead is None else row.batch.counts.refused + dead
    await set_going(tx, row.batch_key, failures)
    return await changed_batch(tx, OperationKind.RESUME_BATCH, row, caller)


async def _dead_again(tx: Tx, batch_id: str) -> int | None:
    """Count what ended badly again, where that is told from what was wanted; None: too much.

    Before the batch is locked: of many items that takes a while, and nobody is to wait for it.
    """
    row = await read_batch(tx, batch_id)
    if row is None or row.batch.pace.max_failures is None:
        return 0
    kind = row.batch.operation.kind
    if kind.is_to_fail:
        return 0
    found = await count_dead_again(tx, row.batch_key, kind, 0, EXACT_OUTCOMES)
    return None if found.last_item else found.dead
