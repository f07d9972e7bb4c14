"""RegisterTask: makes a graph the current definition of its task."""

from __future__ import annotations

from functools import partial

from zart_server.domain.commands import Caller, RegisterTask
from zart_server.domain.model import TaskDefinition
from zart_server.domain.operations import Made, OperationKind
from zart_server.store.connection import Tx
from zart_server.store.definitions import (
    find_registered,
    insert_definitions,
    lock_task_name,
    next_version,
    set_current,
)
from zart_server.store.operations import NewOperation, record_operations


async def register_task(
    tx: Tx, command: RegisterTask, caller: Caller | None = None
) -> TaskDefinition:
    """Register a definition and make it current; content known before keeps its version."""
    task_name, graph = command.task_name, command.graph
    current = await lock_task_name(tx, task_name)
    stored = await find_registered(tx, task_name, graph)
    if stored is None:
        version = await next_version(tx, task_name)
        [stored] = await insert_definitions(tx, [(task_name, version, graph)])
    if stored.definition_key != current:
        await set_current(tx, task_name, stored.definition_key)
        operation = NewOperation(
            caller or Caller(), task_name=task_name, made=Made(definition_version=stored.version)
        )
        await record_operations(tx, OperationKind.REGISTER_TASK, [operation])
    tx.once_committed(partial(tx.definitions.add_current, stored))
    return TaskDefinition(task_name, stored.version, stored.graph.steps)
