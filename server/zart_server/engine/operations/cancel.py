"""CancelExecution: ends the current run."""

from __future__ import annotations

from zart_server.domain.commands import Caller, CancelExecution, Cancelled
from zart_server.domain.errors import RunFinished, ZartError
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import decided
from zart_server.engine.operations.doubts import find_doubts, names_in_doubt
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.replaced import replaced_run
from zart_server.engine.operations.supersede import Meant, fence_runs, lock_current
from zart_server.store.connection import Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.runs import cancel_run


async def cancel_execution(tx: Tx, command: CancelExecution, caller: Caller) -> Cancelled:
    """Cancel the current run and its unfinished steps; late results will be refused.

    Raises ExecutionNotFound, RunChanged, PlanChanged or RunFinished.
    """
    meant = Meant(command.execution_id, command.expected_run_number)
    [current] = await lock_current(tx, [meant], wait=True)
    if isinstance(current, ZartError) or current is None:
        raise current or LookupError("a lock that was waited for was not got")
    token = ""
    if command.planning:
        doubts = await find_doubts(tx, [current])
        decisions = decided(
            run=current.run_id,
            definition_version=current.definition.version,
            in_doubt=names_in_doubt(doubts.get(current.run.run_key, ())),
        )
        token = await judge_plan(tx, command.planning, decisions)
    if current.run.status.is_finished:
        raise RunFinished(current.run_id, current.run.status)
    why = ": ".join(part for part in (caller.triggered_by, caller.reason) if part)
    fenced = (await fence_runs(tx, [current])).get(current.run.run_key, ())
    run = await cancel_run(tx, current.run.run_key, f"cancelled by {why}" if why else "cancelled")
    execution = current.execution
    operation = NewOperation(
        caller,
        execution_id=execution.execution_id,
        run_number=run.run_number,
        task_name=execution.task_name,
        replaced=replaced_run(current.run, fenced),
    )
    await record_operations(tx, OperationKind.CANCEL, [operation])
    done = run.to_run(execution.execution_id, current.definition.version)
    return Cancelled(done, fenced, token)
