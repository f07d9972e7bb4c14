"""RetryStep: revives dead steps of current runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.commands import Caller, RetriedStep, RetryStep
from zart_server.domain.errors import RunFinished, StepNotDead, StepNotFound, ZartError
from zart_server.domain.model import Replaced, RunStatus, StepStatus
from zart_server.engine.current_runs import CurrentRun, Meant, lock_current
from zart_server.engine.placing import Ready, place
from zart_server.store.db import Tx
from zart_server.store.operations import NewOperation
from zart_server.store.reads.steps import RunPlace, read_steps
from zart_server.store.steps import DeadStep, RevivedStep, revive_steps


class _Dead(NamedTuple):
    """A step that is to be revived, if it is dead indeed."""

    place: int
    current: CurrentRun
    step_no: int
    command: RetryStep
    caller: Caller

    @property
    def budget(self) -> int:
        """Give the number of attempts that may count from now on."""
        policy = self.current.definition.graph.steps[self.step_no].retry_policy
        return self.command.max_attempts or policy.max_attempts


async def retry_steps(
    tx: Tx, wanted: Sequence[tuple[RetryStep, Caller]], *, wait: bool
) -> list[RetriedStep | ZartError | None]:
    """Give dead steps a new budget of attempts; queue them, or hold them where they are paused.

    Attempt numbers go on, backoff starts anew; a FAILED run is RUNNING again. An error is
    ExecutionNotFound, RunChanged, RunNotFound, RunNotCurrent, StepNotFound, RunFinished or
    StepNotDead; None, without ``wait``: somebody else holds it. Each execution once.
    """
    meant = [
        Meant(item.execution_id, item.expected_run_number, item.run_number) for item, _ in wanted
    ]
    found: list[RetriedStep | ZartError | None] = []
    dead: list[_Dead] = []
    for current, (command, caller) in zip(
        await lock_current(tx, meant, wait=wait), wanted, strict=True
    ):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        step_no = current.definition.graph.index.get(command.step_name)
        if step_no is None:
            found.append(StepNotFound(current.run_id, command.step_name))
        elif current.run.status is RunStatus.CANCELLED:
            found.append(RunFinished(current.run_id, current.run.status))
        else:
            dead.append(_Dead(len(found), current, step_no, command, caller))
            found.append(None)
    for item, result in zip(dead, await _revive(tx, dead), strict=True):
        found[item.place] = result
    return found


async def _revive(tx: Tx, dead: Sequence[_Dead]) -> list[RetriedStep | ZartError]:
    if not dead:
        return []
    revived = await revive_steps(tx, list(map(_dead_step, dead)))
    done = [(item, step) for item in dead if (step := revived.get(item.current.run.run_key))]
    rules = (await place(tx, [_ready(item, step) for item, step in done])).rules
    held = {item.place: rule for (item, _), rule in zip(done, rules, strict=True)}
    results: list[RetriedStep | ZartError] = []
    now_are = await read_steps(tx, [(_place(item), item.step_no) for item in dead], result_bytes=0)
    for item, now in zip(dead, now_are, strict=True):
        run_id = item.current.run_id
        if item.place not in held:
            results.append(StepNotDead(run_id, item.command.step_name, now.status))
        else:
            task_id = "" if held[item.place] is not None else now.task_id
            results.append(RetriedStep(task_id, run_id, now))
    return results


def _ready(item: _Dead, revived: RevivedStep) -> Ready:
    return Ready(
        item.current.definition,
        item.current.execution.execution_id,
        item.current.run.run_key,
        item.step_no,
        attempt=revived.attempt + 1,
        counted=revived.counted,
        backoff_base=revived.counted,
        max_attempts=revived.counted + item.budget,
    )


def _place(item: _Dead) -> RunPlace:
    current = item.current
    return RunPlace(
        current.run.run_key,
        current.execution.execution_id,
        current.execution.task_name,
        current.definition,
    )


def _dead_step(item: _Dead) -> DeadStep:
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
    return DeadStep(run.run_key, item.step_no, item.budget, operation)
