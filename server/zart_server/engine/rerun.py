"""Rerun: creates the next run on the same graph, with some results carried over."""

from __future__ import annotations

from zart_server.domain.commands import Caller, Rerun, Rerunned, RerunPlan
from zart_server.domain.errors import NothingToRerun, PlanChanged
from zart_server.domain.model import (
    FencedStep,
    Made,
    OperationKind,
    RunTrigger,
    StepStatus,
    run_id_of,
)
from zart_server.domain.rerun import plan_rerun, plan_token
from zart_server.engine.current_run import (
    CurrentRun,
    begin_next_run,
    check_supersedable,
    lock_current,
)
from zart_server.engine.placing import Ready, place
from zart_server.engine.replaced import replaced_run
from zart_server.store.db import Tx
from zart_server.store.operations import record_operation
from zart_server.store.runs import RunRow
from zart_server.store.steps import insert_rerun_steps, read_statuses


async def rerun(tx: Tx, command: Rerun, caller: Caller) -> Rerunned:
    """Plan under the execution's lock, and unless validate_only is set, create the run.

    Preserved steps refer to where their result was made; nothing is copied. Raises InvalidField,
    ExecutionNotFound, RunChanged, RunActive, PlanChanged or NothingToRerun.
    """
    current = await lock_current(tx, command.execution_id, command.expected_run_number)
    plan = await _plan(tx, current, command)
    token = plan_token(current.run_id, command, plan)
    if command.plan_token and command.plan_token != token:
        raise PlanChanged(current.run_id)
    check_supersedable(current, command.if_running)
    if not plan.effective_rerun:
        raise NothingToRerun(current.run_id)
    if command.validate_only:
        return Rerunned("", current.run.run_number + 1, plan, (), token)
    run, fenced = await begin_next_run(
        tx,
        current,
        RunTrigger.SELECTIVE_RERUN,
        caller,
        definition_key=current.definition.definition_key,
    )
    await _record(tx, current, caller, run, plan, fenced)
    await _place_steps(tx, current, run, plan)
    new_run_id = run_id_of(current.execution.execution_id, run.run_number)
    return Rerunned(new_run_id, run.run_number, plan, fenced, token)


async def _plan(tx: Tx, current: CurrentRun, command: Rerun) -> RerunPlan:
    stored = await read_statuses(tx, current.run.run_key)
    # To the plan, open steps are alike: not completed.
    statuses = [StepStatus.PENDING if s == "open" else StepStatus(s) for s in stored]
    return plan_rerun(
        current.definition.graph,
        statuses,
        command.force_rerun,
        command.preserve,
        command.include_downstream,
    )


async def _record(
    tx: Tx,
    current: CurrentRun,
    caller: Caller,
    run: RunRow,
    plan: RerunPlan,
    fenced: tuple[FencedStep, ...],
) -> None:
    execution = current.execution
    await record_operation(
        tx,
        OperationKind.RERUN,
        caller,
        execution_id=execution.execution_id,
        run_number=run.run_number,
        task_name=execution.task_name,
        replaced=replaced_run(current.run, fenced),
        made=Made(
            run_id=run_id_of(execution.execution_id, run.run_number),
            effective_rerun=plan.effective_rerun,
            preserved=plan.preserved,
            definition_version=current.definition.version,
        ),
    )


async def _place_steps(tx: Tx, current: CurrentRun, run: RunRow, plan: RerunPlan) -> None:
    """Insert the steps; those whose dependencies are all preserved are ready."""
    graph = current.definition.graph
    again = {graph.index[name] for name in plan.effective_rerun}
    pending = {number: sum(dep in again for dep in graph.depends_on[number]) for number in again}
    await insert_rerun_steps(
        tx,
        current.run.run_key,
        run.run_key,
        [graph.index[name] for name in plan.preserved],
        dict(sorted(pending.items())),
    )
    await place(
        tx,
        [
            Ready(current.definition, current.execution.execution_id, run.run_key, number)
            for number in sorted(again)
            if pending[number] == 0
        ],
    )
