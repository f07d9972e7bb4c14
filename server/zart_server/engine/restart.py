"""Restart: ends the current run and creates the next from scratch."""

from __future__ import annotations

from zart_server.domain.commands import Caller, Restart, Restarted
from zart_server.domain.model import Made, OperationKind, RunTrigger, run_id_of
from zart_server.engine.current_run import (
    CurrentRun,
    begin_next_run,
    check_supersedable,
    lock_current,
)
from zart_server.engine.placing import Ready, place
from zart_server.engine.replaced import replaced_run
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition, current_keys
from zart_server.store.operations import record_operation
from zart_server.store.steps import insert_steps


async def restart(tx: Tx, command: Restart, caller: Caller) -> Restarted:
    """Create the next run with the same or a new payload and the task's current definition.

    An unfinished run is cancelled and its leases are fenced. An inline graph is kept. Raises
    ExecutionNotFound, RunChanged or RunActive.
    """
    current = await lock_current(tx, command.execution_id, command.expected_run_number)
    check_supersedable(current, command.if_running)
    definition = await _next_definition(tx, current)
    run, fenced = await begin_next_run(
        tx,
        current,
        RunTrigger.RESTART,
        caller,
        definition_key=definition.definition_key,
        payload_json=command.payload_json,
    )
    await insert_steps(tx, [(run.run_key, definition.definition_key)])
    execution = current.execution
    await record_operation(
        tx,
        OperationKind.RESTART,
        caller,
        execution_id=execution.execution_id,
        run_number=run.run_number,
        task_name=execution.task_name,
        replaced=replaced_run(current.run, fenced),
        made=Made(
            run_id=run_id_of(execution.execution_id, run.run_number),
            definition_version=definition.version,
        ),
    )
    await place(
        tx,
        [
            Ready(definition, execution.execution_id, run.run_key, root)
            for root in definition.graph.roots
        ],
    )
    return Restarted(run.to_run(execution.execution_id, definition.version), fenced)


async def _next_definition(tx: Tx, current: CurrentRun) -> Definition:
    if current.definition.version == 0:
        return current.definition
    task_name = current.execution.task_name
    keys = await current_keys(tx, [task_name])
    return await tx.definitions.one(tx, keys.get(task_name, current.definition.definition_key))
