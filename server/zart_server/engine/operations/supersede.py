"""Locks the current runs of executions, the way every admin operation begins, and ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from zart_server.domain.commands import Caller
from zart_server.domain.errors import (
    ExecutionNotFound,
    RunActive,
    RunChanged,
    RunNotCurrent,
    RunNotFound,
    ZartError,
)
from zart_server.domain.model import FencedStep, IfRunning, Run, RunTrigger, run_id_of
from zart_server.domain.operations import Made, OperationKind
from zart_server.domain.plans import NO_PLAN, Planning
from zart_server.domain.rerun import RerunPlan
from zart_server.domain.rule_set import Judgement, StepNames
from zart_server.engine.operations.plans import moved
from zart_server.engine.operations.replaced import replaced_run
from zart_server.store.connection import Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.operations import NewOperation
from zart_server.store.pausing.judging import write_judged
from zart_server.store.queue import lock_queued
from zart_server.store.runs import RunRow, run_exists
from zart_server.store.step_inputs import InputKey
from zart_server.store.steps import fence_steps
from zart_server.store.stored_graph import Definition
from zart_server.store.supersede import (
    LockedExecution,
    NextRun,
    find_gone,
    insert_next_runs,
    lock_current_runs,
)


class CurrentRun(NamedTuple):
    """An execution and its current run, both rows locked by this transaction."""

    execution: LockedExecution
    definition: Definition

    @property
    def run(self) -> RunRow:
        """The run."""
        return self.execution.run

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return run_id_of(self.execution.execution_id, self.run.run_number)

    @property
    def as_planned(self) -> tuple[str, str]:
        """What a plan binds as its ``run``: no other has both, though ids come again.

        So they do after a removal and, with the keys, after a restore.
        """
        return self.run_id, self.run.created_at.isoformat()


class _OnCurrentRun(Protocol):
    """A command about the current run of an execution."""

    @property
    def execution_id(self) -> str: ...
    @property
    def expected_run_number(self) -> int | None: ...
    @property
    def execution_key(self) -> int | None: ...
    @property
    def planning(self) -> Planning: ...


class Meant(NamedTuple):
    """Which run a caller means: the current one, which must have these numbers if given.

    With ``execution_key`` of that execution only: another one may have its id after a purge.
    ``bound`` are the names of what its plan decides.
    """

    execution_id: str
    expected_run_number: int | None
    execution_key: int | None = None
    run_number: int | None = None
    planning: Planning = NO_PLAN
    bound: Sequence[str] = ()

    @classmethod
    def of(
        cls, command: _OnCurrentRun, bound: Sequence[str], run_number: int | None = None
    ) -> Meant:
        """Return the run that a command is about."""
        id_, key = command.execution_id, command.execution_key
        expected = command.expected_run_number
        return cls(id_, expected, key, run_number, command.planning, bound)


async def lock_current(
    tx: Tx, meant: Sequence[Meant], *, wait: bool
) -> list[CurrentRun | ZartError | None]:
    """Lock executions and their current runs, and check that they are the runs that callers mean.

    An error is ExecutionNotFound, RunChanged, RunNotFound or RunNotCurrent, in place of these three
    PlanChanged where a plan is applied. None: another transaction has locked it or, of what is
    meant by its id alone, there is none: only ``wait`` tells which. No two may mean the same
    execution.
    """
    ids = [item.execution_id for item in meant]
    locked = await lock_current_runs(tx, ids, wait=wait)
    if wait and len(locked) < len(ids):
        # Superseded while this waited for the lock: as the execution is locked now, its run stays.
        locked |= await lock_current_runs(tx, [id_ for id_ in ids if id_ not in locked], wait=True)
    # Not found is both what others have locked and what is gone, which stays so.
    missing = [item.execution_key for item in meant if item.execution_id not in locked]
    gone = await find_gone(tx, [key for key in missing if key is not None])
    definitions = await find_definitions(tx, {e.run.definition_key for e in locked.values()})
    found: list[CurrentRun | ZartError | None] = []
    for item in meant:
        execution = locked.get(item.execution_id)
        if execution is None:
            is_gone = wait or item.execution_key in gone
            found.append(ExecutionNotFound(item.execution_id) if is_gone else None)
            continue
        if item.execution_key not in (None, execution.execution_key):
            found.append(ExecutionNotFound(item.execution_id))
            continue
        error = await _mistake(tx, item, execution)
        if error is not None:
            error = await moved(tx, item.planning, item.bound, "run", error)
        found.append(error or CurrentRun(execution, definitions[execution.run.definition_key]))
    return found


def begun_together(
    locked: Sequence[CurrentRun | ZartError | None],
    graph_of: Callable[[CurrentRun], Definition],
    most_steps: int,
) -> list[CurrentRun | ZartError | None]:
    """Leave out, as if locked by another transaction, what brings too many steps with the others.

    ``graph_of`` tells the graph of the run that follows. One is left in, however large it is.
    """
    left: list[CurrentRun | ZartError | None] = []
    total = 0
    for current in locked:
        steps = len(graph_of(current).graph.steps) if isinstance(current, CurrentRun) else 0
        is_beyond = total > 0 and total + steps > most_steps
        left.append(None if is_beyond and steps else current)
        total += 0 if is_beyond else steps
    return left


async def _mistake(
    connection: Connection, meant: Meant, execution: LockedExecution
) -> ZartError | None:
    id_, number = execution.execution_id, execution.run.run_number
    if meant.expected_run_number not in (None, number):
        return RunChanged(id_, meant.expected_run_number or 0, number)
    if meant.run_number is not None and meant.run_number != number:
        if not await run_exists(connection, execution.execution_key, meant.run_number):
            return RunNotFound(id_, meant.run_number)
        return RunNotCurrent(run_id_of(id_, meant.run_number), number)
    return None


def refused(current: CurrentRun, if_running: IfRunning) -> RunActive | None:
    """Return the error where the run is unfinished and the caller asked to refuse then."""
    if if_running is IfRunning.FAIL and not current.run.status.is_finished:
        return RunActive(current.run_id, current.run.status)
    return None


async def fence_runs(tx: Tx, runs: Sequence[CurrentRun]) -> dict[int, tuple[FencedStep, ...]]:
    """End the steps of unfinished runs and fence their leases; return those in flight by run key.

    Finished runs stay as they are.
    """
    order = {c.run.run_key: c.definition.graph.index for c in runs if not c.run.status.is_finished}
    if not order:
        return {}
    # First wait for claims and sweeps that have locked queue rows: later statements see their work.
    await lock_queued(tx, list(order))
    stops = [(c.run.run_key, n) for c in runs for n in c.definition.stops if c.run.run_key in order]
    fenced = await fence_steps(tx, list(order), stops)
    tasks = {c.run.run_key: c.definition.task_name for c in runs}
    for run_key, steps in fenced.items():
        tx.changes.abandoned[tasks[run_key]] += len(steps)
    return {
        run_key: tuple(sorted(steps, key=lambda step: order[run_key][step.step_name]))
        for run_key, steps in fenced.items()
    }


class Inputs(NamedTuple):
    """The inputs of a next run's steps that are not the definition's, by the numbers of the steps.

    ``corrected`` are those that the operation gives; ``kept`` are of the run that it ends.
    """

    corrected: Mapping[int, str]
    kept: Mapping[int, InputKey]


class Following(NamedTuple):
    """The run that is to follow a current one. ``payload_json`` None: the same payload."""

    current: CurrentRun
    definition: Definition
    payload_json: str | None
    caller: Caller
    plan: RerunPlan | None = None
    inputs: Inputs = Inputs({}, {})

    @property
    def run_id(self) -> str:
        """The id that the next run gets."""
        return run_id_of(self.current.execution.execution_id, self.current.run.run_number + 1)


class Superseded(NamedTuple):
    """A run that was followed by the next one: its steps that were in flight, and the next run."""

    following: Following
    fenced: tuple[FencedStep, ...]
    next: RunRow

    @property
    def run(self) -> Run:
        """The next run as callers see it."""
        execution_id = self.following.current.execution.execution_id
        return self.next.to_run(execution_id, self.following.definition.version)


async def supersede(
    tx: Tx,
    runs: Sequence[Following],
    trigger: RunTrigger,
    kind: OperationKind,
    roots: Iterable[StepNames] | None = None,
) -> list[Superseded]:
    """End current runs, insert those that follow, and record it.

    With ``roots``, those of the runs that follow, these begin too.
    """
    if not runs:
        return []
    fenced = await fence_runs(tx, [run.current for run in runs])
    following = [
        NextRun(
            run.current.run.run_key,
            run.definition.definition_key,
            run.payload_json,
            _operation(run, fenced.get(run.current.run.run_key, ())),
        )
        for run in runs
    ]

    async def insert(judgement: Judgement) -> dict[int, RunRow] | None:
        return await insert_next_runs(tx, following, trigger, kind, judgement) or None

    if roots is None:
        inserted = await insert_next_runs(tx, following, trigger, kind)
    else:
        _, inserted = await write_judged(tx, roots, insert)
    return [
        Superseded(
            run,
            fenced.get(run.current.run.run_key, ()),
            inserted[run.current.execution.execution_key],
        )
        for run in runs
    ]


def _operation(run: Following, fenced: tuple[FencedStep, ...]) -> NewOperation:
    execution = run.current.execution
    return NewOperation(
        run.caller,
        execution_id=execution.execution_id,
        run_number=execution.run.run_number + 1,
        task_name=execution.task_name,
        replaced=replaced_run(execution.run, fenced),
        made=Made(
            run_id=run.run_id,
            effective_rerun=run.plan.effective_rerun if run.plan else (),
            preserved=run.plan.preserved if run.plan else (),
            definition_version=run.definition.version,
            corrected_input_steps=tuple(
                run.definition.graph.steps[number].step_name
                for number in sorted(run.inputs.corrected)
            ),
        ),
    )
