"""Rerun: creates next runs on the same graphs, with some results carried over."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from zart_server.domain.commands import Caller, Rerun, Rerunned
from zart_server.domain.doubt import Doubt
from zart_server.domain.errors import InvalidField, NothingToRerun, ZartError
from zart_server.domain.model import RunTrigger, StepStatus
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import OF_RERUN, Decisions, decided
from zart_server.domain.rerun import Differences, RerunPlan, check_inputs, plan_rerun
from zart_server.engine.dispatch.enqueue import Ready, enqueue
from zart_server.engine.operations.corrections import (
    find_corrections,
    is_other_payload,
    made_with_others,
)
from zart_server.engine.operations.doubts import bound_doubts, find_doubts, refuse_in_doubt
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.supersede import (
    CurrentRun,
    Following,
    Inputs,
    Meant,
    Superseded,
    begun_together,
    lock_current,
    refused,
    supersede,
)
from zart_server.store.connection import Tx
from zart_server.store.runs import differing_payloads
from zart_server.store.slices import Slices
from zart_server.store.step_inputs import InputKey, NewInput, insert_first_inputs
from zart_server.store.steps import RerunSteps, insert_rerun_steps, read_states

_FEW = 200  # steps


async def rerun(
    tx: Tx,
    wanted: Sequence[tuple[Rerun, Caller]],
    *,
    wait: bool,
    most_steps: int = sys.maxsize,
) -> list[Rerunned | ZartError | None]:
    """Plan under the executions' locks, and create the runs.

    Preserved steps refer to where their result was made; nothing is copied. An error is
    InvalidField, ExecutionNotFound, RunChanged, RunActive, PlanChanged, NothingToRerun or
    StepInDoubt; None, without ``wait``: another transaction has locked the execution, or the runs
    would have more than ``most_steps`` together. No two may name the same execution.
    """
    meant = [Meant.of(item, OF_RERUN) for item, _ in wanted]
    locked = await lock_current(tx, meant, wait=wait)
    locked = begun_together(locked, lambda each: each.definition, most_steps)
    keys = [current.run.run_key for current in locked if isinstance(current, CurrentRun)]
    doubts = await find_doubts(tx, locked)
    states = await read_states(tx, keys) if keys else {}
    differing = await differing_payloads(
        tx, {(key, older) for key in keys for older in states[key].made_in.values()}
    )
    found: list[Rerunned | ZartError | None] = []
    planned: dict[int, Rerunned] = {}
    following: list[Following] = []
    slices = Slices(tx)  # of many large graphs the plans take seconds
    for number, (current, (command, caller)) in enumerate(zip(locked, wanted, strict=True)):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        if slices.is_over:
            await slices.rest()
        standing = states[current.run.run_key]
        try:
            inputs, payload = await _changed(tx, current, command, standing.inputs)
            outdated = await _outdated(tx, current, payload, standing.made_in, differing)
            plan, decisions = await tx.aside(
                current.definition.graph.size,
                _plan,
                current,
                standing.statuses,
                command,
                Differences(inputs.corrected.keys(), payload is not None, outdated),
                doubts.get(current.run.run_key, ()),
            )
            planning = command.planning
            token = await judge_plan(tx, planning, decisions) if planning else ""
            await _check_doable(tx, current, command, plan, doubts.get(current.run.run_key, ()))
        except InvalidField as error:  # of a step that the run has not
            found.append(await moved(tx, command.planning, OF_RERUN, "run", error))
            continue
        except ZartError as error:
            found.append(error)
            continue
        planned[number] = Rerunned("", current.run.run_number + 1, plan, (), token)
        found.append(planned[number])
        following.append(Following(current, current.definition, payload, caller, plan, inputs))
    superseded = await supersede(tx, following, RunTrigger.SELECTIVE_RERUN, OperationKind.RERUN)
    if superseded:
        await _place_steps(tx, superseded)
    for (number, plan_of), done in zip(planned.items(), superseded, strict=True):
        run_id = done.following.run_id
        found[number] = replace(plan_of, new_run_id=run_id, fenced_steps=done.fenced)
    return found


async def _changed(
    tx: Tx, current: CurrentRun, command: Rerun, standing: Mapping[int, InputKey]
) -> tuple[Inputs, str | None]:
    """Return the inputs of the next run, and its payload if it is another."""
    check_inputs(current.definition.graph, command.inputs)
    corrected = await find_corrections(tx, current, command.inputs, standing)
    payload = command.payload_json
    if payload is not None and not await is_other_payload(tx, current, payload):
        payload = None
    return Inputs(corrected, standing), payload


async def _outdated(
    tx: Tx,
    current: CurrentRun,
    payload: str | None,
    made_in: Mapping[int, int],
    differing: AbstractSet[tuple[int, int]],
) -> set[int]:
    """Return the numbers of the steps whose results were not made with the next run's payload.

    Those of the current run were made with its own, but for what it kept of older ones.
    ``payload`` is the next run's if it is another; ``differing`` tells which may be another than
    the current one's, by the keys of the current run and the older one.
    """
    run_key = current.run.run_key
    older = set(made_in.values())
    if payload is None:
        older = {each for each in older if (run_key, each) in differing}
    others = await made_with_others(tx, current, payload, older)
    found = {number for number, key in made_in.items() if key in others}
    if payload is not None:
        found.update(n for n in range(len(current.definition.graph.steps)) if n not in made_in)
    return found


def _plan(
    current: CurrentRun,
    stored: Sequence[str],
    command: Rerun,
    changes: Differences,
    doubts: Sequence[Doubt],
) -> tuple[RerunPlan, Decisions]:
    # To the plan, open steps are alike: not completed.
    statuses = [StepStatus.SCHEDULED if s == "open" else StepStatus(s) for s in stored]
    plan = plan_rerun(
        current.definition.graph,
        statuses,
        command.force_rerun,
        command.preserve,
        command.include_downstream,
        changes,
    )
    if not command.planning:
        return plan, {}
    return plan, decided(
        run=current.as_planned,
        definition_version=current.definition.version,
        effective_rerun=plan.effective_rerun,
        preserved=plan.preserved,
        potentially_stale=plan.potentially_stale,
        in_doubt=bound_doubts(doubts),
    )


async def _check_doable(
    tx: Tx, current: CurrentRun, command: Rerun, plan: RerunPlan, doubts: Sequence[Doubt]
) -> None:
    error = refused(current, command.if_running)
    if error is not None:
        raise await moved(tx, command.planning, OF_RERUN, "run_status", error)
    if not plan.effective_rerun:
        raise NothingToRerun(current.run_id)
    again = frozenset(plan.effective_rerun)
    refuse_in_doubt(current, doubts, again, command)


async def _place_steps(tx: Tx, superseded: Sequence[Superseded]) -> None:
    """Insert the steps; those whose dependencies are all preserved are ready."""
    inputs = [item for done in superseded for item in _first_inputs(done)]
    corrected = {(item.run_key, item.step_no) for item in inputs}
    steps = RerunSteps([], [], corrected)
    ready: list[Ready] = []
    slices = Slices(tx)
    for done in superseded:
        if slices.is_over:
            await slices.rest()
        current, definition, _, _, plan, _ = done.following
        graph, run_key = definition.graph, done.next.run_key
        names = plan.effective_rerun if plan else ()
        numbers = {graph.index[name] for name in names}
        steps.preserved.extend(
            (run_key, current.run.run_key, number)
            for number in range(len(graph.steps))
            if number not in numbers
        )
        for number in sorted(numbers):
            waits_for = sum(dep in numbers for dep in graph.depends_on[number])
            steps.again.append((run_key, number, waits_for))
            if not waits_for:
                execution_id = current.execution.execution_id
                correction = int((run_key, number) in corrected)
                ready.append(
                    Ready(definition, execution_id, run_key, number, correction=correction)
                )
    if inputs:
        await insert_first_inputs(tx, inputs)
    if len(steps.preserved) + len(steps.again) > _FEW:
        # They take their time: better spent before the pause lock is taken.
        await insert_rerun_steps(tx, steps)
        await enqueue(tx, ready)
    else:
        await enqueue(tx, ready, steps)


def _first_inputs(done: Superseded) -> Iterator[NewInput]:
    """Yield the inputs that steps of a rerun begin with, but for those of the definition."""
    _, definition, _, _, plan, inputs = done.following
    run_key, index = done.next.run_key, definition.graph.index
    for number, text in inputs.corrected.items():
        yield NewInput(run_key, number, text)
    if inputs.kept:
        again = {index[name] for name in plan.effective_rerun} if plan else set()
        for number, key in inputs.kept.items():
            if number in again and number not in inputs.corrected:
                yield NewInput(run_key, number, None, key)
