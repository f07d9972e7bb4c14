"""CancelExecution: ends current runs."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.commands import Caller, CancelExecution, Cancelled
from zart_server.domain.errors import RunFinished, ZartError
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import OF_RUN, decided
from zart_server.engine.operations.doubts import bound_doubts, find_doubts
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.replaced import replaced_run
from zart_server.engine.operations.supersede import CurrentRun, Meant, fence_runs, lock_current
from zart_server.store.connection import Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.runs import cancel_runs


async def cancel_executions(
    tx: Tx, wanted: Sequence[tuple[CancelExecution, Caller]], *, wait: bool
) -> list[Cancelled | ZartError | None]:
    """Cancel current runs and their unfinished steps; late results will be refused.

    An error is ExecutionNotFound, RunChanged, PlanChanged or RunFinished; None, without ``wait``:
    another transaction has locked the execution. No two may name the same execution.
    """
    meant = [Meant.of(item, OF_RUN) for item, _ in wanted]
    found: list[Cancelled | ZartError | None] = []
    doable: list[tuple[int, CurrentRun, Caller, str]] = []
    for current, (command, caller) in zip(
        await lock_current(tx, meant, wait=wait), wanted, strict=True
    ):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        try:
            token = await _check(tx, current, command)
        except ZartError as error:
            found.append(error)
            continue
        doable.append((len(found), current, caller, token))
        found.append(None)
    if not doable:
        return found
    fenced = await fence_runs(tx, [current for _, current, _, _ in doable])
    runs = await cancel_runs(
        tx, {current.run.run_key: _error(caller) for _, current, caller, _ in doable}
    )
    operations = []
    for index, current, caller, token in doable:
        execution, steps = current.execution, fenced.get(current.run.run_key, ())
        run = runs[current.run.run_key]
        done = run.to_run(execution.execution_id, current.definition.version)
        found[index] = Cancelled(done, steps, token)
        operations.append(
            NewOperation(
                caller,
                execution_id=execution.execution_id,
                run_number=run.run_number,
                task_name=execution.task_name,
                replaced=replaced_run(current.run, steps),
            )
        )
    await record_operations(tx, OperationKind.CANCEL, operations)
    return found


async def _check(tx: Tx, current: CurrentRun, command: CancelExecution) -> str:
    """Return the token of a plan. Raises PlanChanged or RunFinished."""
    token = ""
    if command.planning:
        doubts = await find_doubts(tx, [current], earlier=False)
        decisions = decided(
            run=current.as_planned,
            definition_version=current.definition.version,
            in_doubt=bound_doubts(doubts.get(current.run.run_key, ())),
        )
        token = await judge_plan(tx, command.planning, decisions)
    if current.run.status.is_finished:
        finished = RunFinished(current.run_id, current.run.status)
        raise await moved(tx, command.planning, OF_RUN, "run_status", finished)
    return token


def _error(caller: Caller) -> str:
    why = ": ".join(part for part in (caller.triggered_by, caller.reason) if part)
    return f"cancelled by {why}" if why else "cancelled"
