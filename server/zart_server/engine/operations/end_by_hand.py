"""Ends steps by hand, which CompleteStep and FailStep have in common.

The first step that is ended so marks its run: what depends on what no longer tells what has ended,
so from then on the run goes by the rows of its steps, as a rerun does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zart_server.domain.by_hand import CompleteStep, EndedStep, EndStep
from zart_server.domain.commands import Caller
from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.errors import (
    RunFinished,
    StepChanged,
    StepFinished,
    StepNotFound,
    StepRunning,
    ZartError,
)
from zart_server.domain.model import FencedStep, RunStatus, StepStatus
from zart_server.domain.operations import Made, OperationKind, Replaced
from zart_server.domain.plans import OF_STEP, decided
from zart_server.engine.dispatch.enqueue import Ready, enqueue
from zart_server.engine.operations.doubts import find_doubts_of_steps
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.supersede import CurrentRun, Meant, lock_current
from zart_server.store.by_hand import (
    Marked,
    StandingStep,
    StepToEnd,
    end_steps,
    mark_runs,
    read_run_statuses,
    read_standing,
)
from zart_server.store.connection import Tx
from zart_server.store.dead_steps import Death, record_deaths
from zart_server.store.doubt.resolving import resolve_by_operation
from zart_server.store.operations import NewOperation
from zart_server.store.pausing.judging import judge_to_the_end
from zart_server.store.queue import lock_queued_steps
from zart_server.store.reads.steps import RunIdentity, read_steps
from zart_server.store.runs import finish_runs
from zart_server.store.steps import open_dependants


class _Meant(NamedTuple):
    """A step that exists, and what is to become of it."""

    number: int
    current: CurrentRun
    step_no: int
    command: EndStep
    caller: Caller

    @property
    def run_key(self) -> int:
        return self.current.run.run_key

    @property
    def key(self) -> tuple[int, int]:
        return self.run_key, self.step_no

    @property
    def identity(self) -> RunIdentity:
        execution = self.current.execution
        return RunIdentity(
            self.run_key, execution.execution_id, execution.task_name, self.current.definition
        )


@dataclass(frozen=True, slots=True)
class _Ending:
    """A step that is to be ended, whether it is in doubt, and the token of its plan."""

    meant: _Meant
    before: StandingStep
    is_doubted: bool
    plan_token: str

    @property
    def makes_doubt(self) -> bool:
        """Whether an attempt is fenced that may have its effect."""
        meant = self.meant
        stops = meant.step_no in meant.current.definition.stops
        return stops and self.before.status is StepStatus.RUNNING


async def end_by_hand(
    tx: Tx, wanted: Sequence[tuple[EndStep, Caller]], kind: OperationKind, *, wait: bool
) -> list[EndedStep | ZartError | None]:
    """End steps of current runs, with all that follows.

    An error is ExecutionNotFound, RunChanged, StepNotFound, PlanChanged, RunFinished, StepFinished,
    StepRunning or StepChanged; None, without ``wait``: another transaction has locked the
    execution. No two may name the same execution. What was in doubt of the steps is resolved. Locks
    executions and runs, then the queue rows of the steps, then the pause lock.
    """
    found, meant = await _find(tx, wanted, wait=wait)
    if not meant:
        return found
    keys = [item.key for item in meant]
    # First wait for claims and sweeps that have locked them: later statements see their work.
    await lock_queued_steps(tx, keys)
    standing = await read_standing(tx, keys)
    steps = [(item.current, item.step_no) for item in meant]
    doubts = await find_doubts_of_steps(tx, steps, earlier=False)
    endings = []
    for item in meant:
        before = standing[item.key]
        is_doubted = any(doubt.is_open for doubt in doubts.get(item.run_key, ()))
        try:
            token = await _judge_plan(tx, item, is_doubted) if item.command.planning else ""
            if item.current.run.status is RunStatus.CANCELLED:
                finished = RunFinished(item.current.run_id, RunStatus.CANCELLED)
                raise await moved(tx, item.command.planning, OF_STEP, "run_status", finished)
            _check_doable(item, before, is_doubted=is_doubted)
        except ZartError as error:
            found[item.number] = error
            continue
        endings.append(_Ending(item, before, is_doubted, token))
    if endings:
        for ending, done in zip(endings, await _end(tx, endings, kind), strict=True):
            found[ending.meant.number] = done
    return found


async def _find(
    tx: Tx, wanted: Sequence[tuple[EndStep, Caller]], *, wait: bool
) -> tuple[list[EndedStep | ZartError | None], list[_Meant]]:
    found: list[EndedStep | ZartError | None] = []
    meant = []
    runs = [Meant.of(command, OF_STEP) for command, _ in wanted]
    for current, (command, caller) in zip(
        await lock_current(tx, runs, wait=wait), wanted, strict=True
    ):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        step_no = current.definition.graph.index.get(command.step_name)
        if step_no is None:
            unknown = StepNotFound(current.run_id, command.step_name)
            found.append(await moved(tx, command.planning, OF_STEP, "run", unknown))
            continue
        meant.append(_Meant(len(found), current, step_no, command, caller))
        found.append(None)
    return found, meant


async def _judge_plan(tx: Tx, item: _Meant, is_doubted: bool) -> str:  # noqa: FBT001 - a fact
    """Return the token of a plan. Raises PlanChanged."""
    [step] = await read_steps(tx, [(item.identity, item.step_no)], result_bytes=0)
    names = item.identity.execution_id, item.identity.task_name, item.command.step_name
    withheld = (await judge_to_the_end(tx, [names])).rules
    decisions = decided(
        run=item.current.as_planned,
        step_status=step.status,
        attempt=step.attempt,
        withheld=any(rule is not None for rule in withheld),
        in_doubt=is_doubted,
    )
    return await judge_plan(tx, item.command.planning, decisions)


def _check_doable(item: _Meant, before: StandingStep, *, is_doubted: bool) -> None:
    command, run_id = item.command, item.current.run_id
    if command.expected_attempt not in (None, before.attempt):
        raise StepChanged(run_id, command.step_name, command.expected_attempt or 0, before.attempt)
    is_over = before.status in (StepStatus.COMPLETED, StepStatus.CANCELLED)
    is_dead = before.status is StepStatus.DEAD and not is_doubted
    if is_over or (is_dead and not isinstance(command, CompleteStep)):
        raise StepFinished(run_id, command.step_name, before.status)
    if before.status is StepStatus.RUNNING and not command.fence:
        raise StepRunning(run_id, command.step_name, before.attempt, before.dispatcher_id)


async def _end(tx: Tx, endings: Sequence[_Ending], kind: OperationKind) -> list[EndedStep]:
    stops = [item.meant.run_key for item in endings if item.makes_doubt]
    fenced = await end_steps(tx, kind, list(map(_step_to_end, endings)), stops)
    if doubted := [
        (*item.meant.key, item.meant.current.execution.execution_id)
        for item in endings
        if item.is_doubted or item.makes_doubt
    ]:
        await resolve_by_operation(tx, doubted, kind)
    ready = await _open(tx, [item.meant for item in endings])
    moving = {item.run_key for item in ready}
    if died := [d for i in endings if (d := _death(i.meant, tx.fingerprint.number)) is not None]:
        await record_deaths(tx, died)  # before their runs let go of what was dead
    await mark_runs(tx, {item.meant.run_key: _marked(item, moving) for item in endings})
    if still := [i.meant.run_key for i in endings if i.meant.run_key not in moving]:
        await finish_runs(tx, sorted(still))
    # Last, since a Pause waits for whoever has taken the pause lock.
    await enqueue(tx, ready)
    meant = [(item.meant.identity, item.meant.step_no) for item in endings]
    now_are = await read_steps(tx, meant, result_bytes=0)
    statuses = await read_run_statuses(tx, [item.meant.run_key for item in endings])
    found = []
    for item, now in zip(endings, now_are, strict=True):
        current = item.meant.current
        in_flight = fenced.get(current.run.run_key)
        if in_flight is not None:
            tx.changes.abandoned[current.definition.task_name] += 1
        found.append(
            EndedStep(
                current.run_id,
                now,
                () if in_flight is None else (in_flight,),
                statuses[current.run.run_key],
                item.plan_token,
            )
        )
    return found


async def _open(tx: Tx, ended: Sequence[_Meant]) -> list[Ready]:
    """Return the steps that are ready now, since the completed ones were all they waited for."""
    by_run = {item.run_key: item.current for item in ended}
    waiting = {
        (item.run_key, after): 1
        for item in ended
        if isinstance(item.command, CompleteStep)
        for after in item.current.definition.graph.dependants[item.step_no]
    }
    if not waiting:
        return []
    return [
        Ready(
            by_run[step.run_key].definition,
            by_run[step.run_key].execution.execution_id,
            step.run_key,
            step.step_no,
            attempt=step.attempt + 1,
            counted=step.counted,
            backoff_base=step.counted,
            max_attempts=step.max_attempts,
            correction=step.correction,
        )
        for step in await open_dependants(tx, waiting)
    ]


def _death(meant: _Meant, version: int) -> Death | None:
    """Return the death of a step that is failed."""
    command, definition = meant.command, meant.current.definition
    if isinstance(command, CompleteStep):
        return None
    kind = ErrorKind.of(definition.task_name, command.step_name, command.error, version)
    return Death(*meant.key, kind)


def _marked(item: _Ending, moving: set[int]) -> Marked:
    """Return what becomes of the run; one that is FAILED no longer may be at once again."""
    was_dead = item.before.status is StepStatus.DEAD
    return Marked(was_dead, goes_on=was_dead or item.meant.run_key in moving)


def _step_to_end(item: _Ending) -> StepToEnd:
    meant, before = item.meant, item.before
    command, run, execution = meant.command, meant.current.run, meant.current.execution
    fenced: tuple[FencedStep, ...] = ()
    is_running = before.status is StepStatus.RUNNING
    if is_running:
        fenced = (FencedStep(command.step_name, before.attempt, before.dispatcher_id),)
    operation = NewOperation(
        meant.caller,
        execution_id=execution.execution_id,
        run_number=run.run_number,
        step_name=command.step_name,
        task_name=execution.task_name,
        replaced=Replaced(
            run_number=run.run_number,
            status=run.status,
            error=run.error,
            completed_at=run.completed_at,
            step_status=before.status,
            step_error=before.error,
            fenced_steps=fenced,
        ),
    )
    attempt = before.attempt + 1
    if isinstance(command, CompleteStep):
        made = Made(resolution=command.resolution)
        return StepToEnd(
            meant.run_key,
            meant.step_no,
            attempt,
            before,
            operation._replace(made=made),
            resolution=command.resolution,
            result_json=command.result_json,
        )
    return StepToEnd(meant.run_key, meant.step_no, attempt, before, operation, error=command.error)
