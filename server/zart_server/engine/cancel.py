"""CancelExecution: ends the current run."""

from __future__ import annotations

from zart_server.domain.commands import Caller, CancelExecution, Cancelled
from zart_server.domain.errors import RunFinished
from zart_server.domain.model import OperationKind
from zart_server.engine.current_run import end_run, lock_current
from zart_server.engine.replaced import replaced_run
from zart_server.store.db import Tx
from zart_server.store.operations import record_operation


async def cancel_execution(tx: Tx, command: CancelExecution, caller: Caller) -> Cancelled:
    """Cancel the current run and its unfinished steps; late results will be refused.

    Raises ExecutionNotFound, RunChanged or RunFinished.
    """
    current = await lock_current(tx, command.execution_id, command.expected_run_number)
    if current.run.status.is_finished:
        raise RunFinished(current.run_id, current.run.status)
    why = ": ".join(part for part in (caller.triggered_by, caller.reason) if part)
    run, fenced = await end_run(tx, current, f"cancelled by {why}" if why else "cancelled")
    execution = current.execution
    await record_operation(
        tx,
        OperationKind.CANCEL,
        caller,
        execution_id=execution.execution_id,
        run_number=run.run_number,
        task_name=execution.task_name,
        replaced=replaced_run(current.run, fenced),
    )
    return Cancelled(run.to_run(execution.execution_id, current.definition.version), fenced)
