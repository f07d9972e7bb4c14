"""UnsetRetention: has what the servers are set to hold of a task again."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind
from zart_server.domain.retention import Unset
from zart_server.store.connection import Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.retention.passes import hold_pass
from zart_server.store.retention.tasks import unset_task_retention


async def unset_retention(tx: Tx, task_name: str, caller: Caller) -> Unset:
    """Set nothing for a task any more, and record it; return what was set, if anything."""
    await hold_pass(tx)
    was = await unset_task_retention(tx, task_name)
    operation = NewOperation(caller, task_name=task_name)
    await record_operations(tx, OperationKind.UNSET_RETENTION, [operation])
    tx.changes.retention = True
    return Unset(was)
