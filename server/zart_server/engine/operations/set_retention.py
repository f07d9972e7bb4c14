"""SetRetention: sets for how long finished executions of a task are kept."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.operations import Made, OperationKind
from zart_server.domain.retention import SetRetention, TaskRetention
from zart_server.store.connection import Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.retention.passes import hold_pass
from zart_server.store.retention.tasks import set_task_retention


async def set_retention(tx: Tx, command: SetRetention, caller: Caller) -> TaskRetention:
    """Set for how long finished executions of a task are kept, and record it.

    It holds for every piece that is removed after this is committed.
    """
    await hold_pass(tx)
    found = await set_task_retention(tx, command.task_name, command.keep, caller)
    seconds = 0.0 if command.keep is None else command.keep.total_seconds()
    made = Made(keep_seconds=seconds)
    operation = NewOperation(caller, task_name=command.task_name, made=made)
    await record_operations(tx, OperationKind.SET_RETENTION, [operation])
    tx.changes.retention = True
    return found
