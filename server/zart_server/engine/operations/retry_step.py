"""RetryStep: revives dead steps of current runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.commands import Caller, RetriedStep, RetryStep
from zart_server.domain.doubt import Doubt
from zart_server.domain.errors import (
    RunFinished,
    StepChanged,
    StepNotDead,
    StepNotFound,
    ZartError,
)
from zart_server.domain.model import RunStatus, Step, StepStatus
from zart_server.domain.operations import OperationKind, Replaced
from zart_server.domain.plans import OF_STEP, decided
from zart_server.domain.rerun import StepInput
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.corrections import find_correction
from zart_server.engine.operations.doubts import find_doubts_of_steps, refuse_in_doubt
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.supersede import CurrentRun, Meant, lock_current
from zart_server.store.connection import Tx
from zart_server.store.doubt.resolving import resolve_by_operation
from zart_server.store.operations import NewOperation
from zart_server.store.pausing.judging import judge_to_the_end, write_judged
from zart_server.store.reads.step_rows import StepRow
from zart_server.store.reads.steps import RunIdentity, queued_step, read_steps
from zart_server.store.retry_step import StepToRevive, revive_steps
from zart_server.store.runs import finish_runs
from zart_server.store.steps import step_statuses


class _Dead(NamedTuple):
    """A step that is to be revived, if it is dead indeed. ``input_json`` corrects its input."""

    number: int
    current: CurrentRun
    step_no: int
    command: RetryStep
    caller: Caller
    doubts: Sequence[Doubt]
    plan_token: str = ""
    input_json: str | None = None

    @property
    def budget(self) -> int:
        """Return the number of attempts that may count from now on."""
        policy = self.current.definition.graph.steps[self.step_no].retry_policy
        return self.command.max_attempts or policy.max_attempts


async def retry_steps(
    tx: Tx, wanted: Sequence[tuple[RetryStep, Caller]], *, wait: bool
) -> list[RetriedStep | ZartError | None]:
    """Give dead steps a new budget of attempts; queue them, or pause those that a rule matches.

    Attempt numbers go on, backoff starts anew; a FAILED run is RUNNING again. A step that was
    failed by hand while it was PENDING is so again if its dependencies are not completed. An input
    that is given is that of the step in this run from then on. An error is
    ExecutionNotFound, RunChanged, RunNotFound, RunNotCurrent, StepNotFound, PlanChanged,
    RunFinished, StepInDoubt, StepChanged or StepNotDead; None, without ``wait``: another
    transaction has locked the execution. No two may name the same execution.
    """
    meant = [Meant.of(item, OF_STEP, item.run_number) for item, _ in wanted]
    found: list[RetriedStep | ZartError | None] = []
    dead: list[_Dead] = []
    locked = await lock_current(tx, meant, wait=wait)
    doubts = await find_doubts_of_steps(tx, _steps(locked, wanted))
    for current, (command, caller) in zip(locked, wanted, strict=True):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        step_no = current.definition.graph.index.get(command.step_name)
        if step_no is None:
            unknown = StepNotFound(current.run_id, command.step_name)
            found.append(await moved(tx, command.planning, OF_STEP, "run", unknown))
            continue
        of_step = doubts.get(current.run.run_key, ())
        item = _Dead(len(found), current, step_no, command, caller, of_step)
        try:
            token = await _judge_plan(tx, item) if command.planning else ""
            if current.run.status is RunStatus.CANCELLED:
                finished = RunFinished(current.run_id, current.run.status)
                raise await moved(tx, command.planning, OF_STEP, "run_status", finished)
            refuse_in_doubt(current, of_step, None, command)
        except ZartError as error:
            found.append(error)
            continue
        dead.append(
            item._replace(plan_token=token, input_json=await _correction(tx, current, command))
        )
        found.append(None)
    for item, result in zip(dead, await _revive(tx, dead), strict=True):
        found[item.number] = result
    return found


def _steps(
    locked: Sequence[object], wanted: Sequence[tuple[RetryStep, Caller]]
) -> Iterator[tuple[CurrentRun, int]]:
    """Yield the steps that are there, by their numbers."""
    for current, (command, _) in zip(locked, wanted, strict=True):
        if isinstance(current, CurrentRun):
            step_no = current.definition.graph.index.get(command.step_name)
            if step_no is not None:
                yield current, step_no


async def _correction(tx: Tx, current: CurrentRun, command: RetryStep) -> str | None:
    if command.input_json is None:
        return None
    return await find_correction(tx, current, StepInput(command.step_name, command.input_json))


async def _judge_plan(tx: Tx, item: _Dead) -> str:
    """Return the token of a plan. Raises PlanChanged."""
    [step] = await read_steps(tx, [(_identity(item), item.step_no)], result_bytes=0)
    withheld = (await judge_to_the_end(tx, [_names(item)])).rules
    decisions = decided(
        run=item.current.as_planned,
        step_status=step.status,
        attempt=step.attempt,
        withheld=any(rule is not None for rule in withheld),
        in_doubt=_bound(item.doubts),
    )
    return await judge_plan(tx, item.command.planning, decisions)


def _bound(doubts: Sequence[Doubt]) -> bool | tuple[bool, int]:
    """Return what a plan binds of a step's attempts: whether one is open, how many have happened.

    Another one that is found to have happened is news, whatever else is open, or was found before.
    """
    is_open = any(doubt.is_open for doubt in doubts)
    happened = sum(not doubt.is_open for doubt in doubts)
    return (is_open, happened) if happened else is_open


async def _revive(tx: Tx, dead: Sequence[_Dead]) -> list[RetriedStep | ZartError]:
    if not dead:
        return []
    missing = await _missing(tx, dead)
    steps = [_step_to_revive(item, missing.get(item.current.run.run_key, 0)) for item in dead]
    judgement, revived = await write_judged(
        tx, list(map(_names, dead)), lambda by: revive_steps(tx, steps, by)
    )
    doubted = [
        (item.current.run.run_key, item.step_no, item.current.execution.execution_id)
        for item in dead
        if item.current.run.run_key in revived and any(doubt.is_open for doubt in item.doubts)
    ]
    if doubted:
        await resolve_by_operation(tx, doubted, OperationKind.RETRY_STEP)
    if still := sorted(revived.keys() & missing.keys()):
        await finish_runs(tx, still)
    results: list[RetriedStep | ZartError] = []
    now_are = await _now_are(tx, dead, revived)
    for item, rule in judgement.beside(dead):
        now = now_are[item.current.run.run_key]
        run_id = item.current.run_id
        if item.current.run.run_key not in revived:
            results.append(_not_revived(item, now))
            continue
        if rule is None and not missing.get(item.current.run.run_key):
            definition = item.current.definition
            tx.changes.queued(definition.task_name, definition.graph.steps[item.step_no].handler)
        task_id = "" if rule is not None else now.task_id
        results.append(RetriedStep(task_id, run_id, now, item.plan_token))
    return results


async def _now_are(
    tx: Tx, dead: Sequence[_Dead], revived: Mapping[int, StepRow | None]
) -> dict[int, Step]:
    """Return the steps as they are now, by run key; most are known by what revived them.

    What was in doubt of those is resolved by now.
    """
    found: dict[int, Step] = {}
    others: list[_Dead] = []
    for item in dead:
        row = revived.get(item.current.run.run_key)
        if row is not None:
            found[item.current.run.run_key] = queued_step(row, _identity(item))
        else:
            others.append(item)
    if others:
        wanted = [(_identity(item), item.step_no) for item in others]
        for item, step in zip(others, await read_steps(tx, wanted, result_bytes=0), strict=True):
            found[item.current.run.run_key] = step
    return found


async def _missing(tx: Tx, dead: Sequence[_Dead]) -> dict[int, int]:
    """Return, by run key, how many dependencies of the steps are not completed.

    Only of runs in which a step was ended by hand: else all are.
    """
    keys = [
        (item.current.run.run_key, dep)
        for item in dead
        if item.current.run.by_hand
        for dep in item.current.definition.graph.depends_on[item.step_no]
    ]
    statuses = await step_statuses(tx, keys) if keys else ()
    return Counter(run_key for run_key, _, status in statuses if status != "completed")


def _not_revived(item: _Dead, now: Step) -> ZartError:
    run_id, name, expected = (
        item.current.run_id,
        item.command.step_name,
        item.command.expected_attempt,
    )
    if expected is not None and expected != now.attempt:
        return StepChanged(run_id, name, expected, now.attempt)
    return StepNotDead(run_id, name, now.status)


def _names(item: _Dead) -> StepNames:
    execution = item.current.execution
    step_name = item.current.definition.queued[item.step_no].step_name
    return execution.execution_id, execution.task_name, step_name


def _identity(item: _Dead) -> RunIdentity:
    current = item.current
    return RunIdentity(
        current.run.run_key,
        current.execution.execution_id,
        current.execution.task_name,
        current.definition,
    )


def _step_to_revive(item: _Dead, pending_deps: int) -> StepToRevive:
    run = item.current.run
    operation = NewOperation(
        item.caller,
        execution_id=item.current.execution.execution_id,
        run_number=run.run_number,
        step_name=item.command.step_name,
        task_name=item.current.execution.task_name,
        replaced=Replaced(
            run_number=run.run_number,
            status=run.status,
            error=run.error,
            completed_at=run.completed_at,
            step_status=StepStatus.DEAD,
        ),
    )
    queued = item.current.definition.queued[item.step_no]
    return StepToRevive(
        run.run_key,
        item.step_no,
        item.budget,
        queued,
        operation,
        item.input_json,
        pending_deps,
        item.command.expected_attempt,
    )
