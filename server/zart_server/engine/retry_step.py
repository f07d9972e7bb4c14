"""RetryStep: revives one dead step of the current run."""

from __future__ import annotations

from zart_server.domain.commands import Caller, RetriedStep, RetryStep
from zart_server.domain.errors import RunFinished, StepNotDead, StepNotFound
from zart_server.domain.model import Made, OperationKind, Replaced, RunStatus, Step, StepStatus
from zart_server.engine.current_run import CurrentRun, lock_current
from zart_server.engine.placing import Ready, place
from zart_server.store.db import Tx
from zart_server.store.operations import record_operation
from zart_server.store.queue import task_id_of
from zart_server.store.reads.steps import RunPlace, read_steps
from zart_server.store.runs import revive_run
from zart_server.store.steps import RevivedStep, revive_step


async def retry_step(tx: Tx, command: RetryStep, caller: Caller) -> RetriedStep:
    """Give a dead step a new budget of attempts and queue it, or hold it where it is paused.

    Attempt numbers go on, backoff starts anew; a FAILED run is RUNNING again. Raises
    ExecutionNotFound, RunChanged, RunNotFound, RunNotCurrent, StepNotFound, RunFinished or
    StepNotDead.
    """
    current = await lock_current(
        tx, command.execution_id, command.expected_run_number, command.run_number
    )
    step_no = current.definition.graph.index.get(command.step_name)
    if step_no is None:
        raise StepNotFound(current.run_id, command.step_name)
    if current.run.status is RunStatus.CANCELLED:
        raise RunFinished(current.run_id, current.run.status)
    revived = await revive_step(tx, current.run.run_key, step_no)
    if revived is None:
        status = (await _read(tx, current, step_no)).status
        raise StepNotDead(current.run_id, command.step_name, status)
    await revive_run(tx, current.run.run_key)
    policy = current.definition.graph.steps[step_no].retry_policy
    budget = revived.counted + (command.max_attempts or policy.max_attempts)
    task_id = task_id_of(current.run.run_key, step_no, revived.attempt + 1)
    await _record(tx, current, caller, command.step_name, revived, task_id, budget)
    ready = Ready(
        current.definition,
        command.execution_id,
        current.run.run_key,
        step_no,
        attempt=revived.attempt + 1,
        counted=revived.counted,
        backoff_base=revived.counted,
        max_attempts=budget,
    )
    placed = await place(tx, [ready])
    is_held = placed.rules[0] is not None
    step = await _read(tx, current, step_no)
    return RetriedStep("" if is_held else task_id, current.run_id, step)


async def _read(tx: Tx, current: CurrentRun, step_no: int) -> Step:
    place_of = RunPlace(
        current.run.run_key,
        current.execution.execution_id,
        current.execution.task_name,
        current.definition,
    )
    return (await read_steps(tx, place_of, [step_no], result_bytes=0))[0]


async def _record(
    tx: Tx,
    current: CurrentRun,
    caller: Caller,
    step_name: str,
    revived: RevivedStep,
    task_id: str,
    budget: int,
) -> None:
    await record_operation(
        tx,
        OperationKind.RETRY_STEP,
        caller,
        execution_id=current.execution.execution_id,
        run_number=current.run.run_number,
        step_name=step_name,
        task_name=current.execution.task_name,
        replaced=Replaced(
            run_number=current.run.run_number,
            status=current.run.status,
            error=current.run.error,
            completed_at=current.run.completed_at,
            step_status=StepStatus.DEAD,
            step_error=revived.error,
        ),
        made=Made(task_id=task_id, max_attempts=budget),
    )
