"""Rerun: creates next runs on the same graphs, with some results carried over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.commands import Caller, Rerun, Rerunned, RerunPlan
from zart_server.domain.errors import NothingToRerun, PlanChanged, ZartError
from zart_server.domain.model import Made, OperationKind, RunTrigger, StepStatus, run_id_of
from zart_server.domain.rerun import plan_rerun, plan_token
from zart_server.engine.current_runs import (
    CurrentRun,
    Meant,
    Superseded,
    lock_current,
    refused,
    supersede,
)
from zart_server.engine.placing import Ready, place
from zart_server.engine.replaced import replaced_run
from zart_server.store.db import Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.steps import insert_rerun_steps, read_statuses


class _Planned(NamedTuple):
    place: int
    current: CurrentRun
    plan: RerunPlan
    token: str
    caller: Caller


async def rerun(
    tx: Tx, wanted: Sequence[tuple[Rerun, Caller]], *, wait: bool
) -> list[Rerunned | ZartError | None]:
    """Plan under the executions' locks, and create the runs of those without validate_only.

    Preserved steps refer to where their result was made; nothing is copied. An error is
    InvalidField, ExecutionNotFound, RunChanged, RunActive, PlanChanged or NothingToRerun; None,
    without ``wait``: somebody else holds it. Each execution once.
    """
    meant = [Meant(item.execution_id, item.expected_run_number) for item, _ in wanted]
    locked = await lock_current(tx, meant, wait=wait)
    keys = [current.run.run_key for current in locked if isinstance(current, CurrentRun)]
    statuses = await read_statuses(tx, keys) if keys else {}
    found: list[Rerunned | ZartError | None] = []
    planned: list[_Planned] = []
    for number, (current, (command, caller)) in enumerate(zip(locked, wanted, strict=True)):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        try:
            plan, token = _plan(current, statuses[current.run.run_key], command)
        except ZartError as error:
            found.append(error)
            continue
        found.append(Rerunned("", current.run.run_number + 1, plan, (), token))
        if not command.validate_only:
            planned.append(_Planned(number, current, plan, token, caller))
    superseded = await supersede(
        tx,
        [(item.current, item.current.definition, None, item.caller) for item in planned],
        RunTrigger.SELECTIVE_RERUN,
    )
    if superseded:
        await record_operations(tx, OperationKind.RERUN, map(_operation, planned, superseded))
        await _place_steps(tx, planned, superseded)
    for item, done in zip(planned, superseded, strict=True):
        run_id = run_id_of(item.current.execution.execution_id, done.next.run_number)
        found[item.place] = Rerunned(
            run_id, done.next.run_number, item.plan, done.fenced, item.token
        )
    return found


def _plan(current: CurrentRun, stored: Sequence[str], command: Rerun) -> tuple[RerunPlan, str]:
    # To the plan, open steps are alike: not completed.
    statuses = [StepStatus.SCHEDULED if s == "open" else StepStatus(s) for s in stored]
    plan = plan_rerun(
        current.definition.graph,
        statuses,
        command.force_rerun,
        command.preserve,
        command.include_downstream,
    )
    token = plan_token(current.run_id, command, plan)
    if command.plan_token and command.plan_token != token:
        raise PlanChanged(current.run_id)
    error = refused(current, command.if_running)
    if error is not None:
        raise error
    if not plan.effective_rerun:
        raise NothingToRerun(current.run_id)
    return plan, token


def _operation(item: _Planned, done: Superseded) -> NewOperation:
    execution = item.current.execution
    return NewOperation(
        item.caller,
        execution_id=execution.execution_id,
        run_number=done.next.run_number,
        task_name=execution.task_name,
        replaced=replaced_run(item.current.run, done.fenced),
        made=Made(
            run_id=run_id_of(execution.execution_id, done.next.run_number),
            effective_rerun=item.plan.effective_rerun,
            preserved=item.plan.preserved,
            definition_version=done.definition.version,
        ),
    )


async def _place_steps(
    tx: Tx, planned: Sequence[_Planned], superseded: Sequence[Superseded]
) -> None:
    """Insert the steps; those whose dependencies are all preserved are ready."""
    preserved: list[tuple[int, int, int]] = []
    again: list[tuple[int, int, int]] = []
    ready: list[Ready] = []
    for item, done in zip(planned, superseded, strict=True):
        definition, run_key = done.definition, done.next.run_key
        graph = definition.graph
        source = item.current.run.run_key
        preserved += [(run_key, source, graph.index[name]) for name in item.plan.preserved]
        numbers = {graph.index[name] for name in item.plan.effective_rerun}
        for number in sorted(numbers):
            waits_for = sum(dep in numbers for dep in graph.depends_on[number])
            again.append((run_key, number, waits_for))
            if not waits_for:
                execution_id = item.current.execution.execution_id
                ready.append(Ready(definition, execution_id, run_key, number))
    await insert_rerun_steps(tx, preserved, again)
    await place(tx, ready)
