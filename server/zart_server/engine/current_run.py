"""Locks the current run of an execution, the way every admin operation begins."""

from __future__ import annotations

from dataclasses import dataclass

from zart_server.domain.commands import Caller
from zart_server.domain.errors import (
    ExecutionNotFound,
    RunActive,
    RunChanged,
    RunNotCurrent,
    RunNotFound,
)
from zart_server.domain.model import FencedStep, IfRunning, Run, RunTrigger, run_id_of
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.executions import LockedExecution, lock_execution
from zart_server.store.queue import lock_queued
from zart_server.store.runs import (
    RunRow,
    cancel_run,
    insert_next_run,
    lock_current_run,
    run_exists,
)
from zart_server.store.steps import fence_steps


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """An execution and its current run, both rows held by this transaction."""

    execution: LockedExecution
    run: RunRow
    definition: Definition

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return run_id_of(self.execution.execution_id, self.run.run_number)

    def to_run(self) -> Run:
        """Give the run as callers see it."""
        return self.run.to_run(self.execution.execution_id, self.definition.version)


async def lock_current(
    tx: Tx,
    execution_id: str,
    expected_run_number: int | None,
    run_number: int | None = None,
) -> CurrentRun:
    """Lock an execution, then its current run, and check that it is the run the caller means.

    Raises ExecutionNotFound, RunChanged, RunNotFound or RunNotCurrent.
    """
    execution = await lock_execution(tx, execution_id)
    if execution is None:
        raise ExecutionNotFound(execution_id)
    run = await lock_current_run(tx, execution.execution_key)
    if expected_run_number is not None and run.run_number != expected_run_number:
        raise RunChanged(execution_id, expected_run_number, run.run_number)
    if run_number is not None and run_number != run.run_number:
        if not await run_exists(tx, execution.execution_key, run_number):
            raise RunNotFound(execution_id, run_number)
        raise RunNotCurrent(run_id_of(execution_id, run_number), run.run_number)
    definition = await tx.definitions.one(tx, run.definition_key)
    tx.changes.executions.add(execution.execution_key)
    return CurrentRun(execution, run, definition)


def check_supersedable(current: CurrentRun, if_running: IfRunning) -> None:
    """Raise RunActive where the run is unfinished and the caller asked to refuse then."""
    if if_running is IfRunning.FAIL and not current.run.status.is_finished:
        raise RunActive(current.run_id, current.run.status)


async def end_run(tx: Tx, current: CurrentRun, error: str) -> tuple[RunRow, tuple[FencedStep, ...]]:
    """Cancel the current run where it is unfinished, fencing its leases; say what was in flight.

    A finished run stays as it is.
    """
    if current.run.status.is_finished:
        return current.run, ()
    # First wait for claims and sweeps that hold queue rows: what they moved is seen after that.
    await lock_queued(tx, current.run.run_key)
    fenced = await fence_steps(tx, current.run.run_key)
    order = current.definition.graph.index
    fenced.sort(key=lambda step: order[step.step_name])
    return await cancel_run(tx, current.run.run_key, error), tuple(fenced)


async def begin_next_run(
    tx: Tx,
    current: CurrentRun,
    trigger: RunTrigger,
    caller: Caller,
    *,
    definition_key: int,
    payload_json: str | None = None,
) -> tuple[RunRow, tuple[FencedStep, ...]]:
    """End the current run and insert the one that follows it."""
    ended, fenced = await end_run(tx, current, f"superseded by run {current.run.run_number + 1}")
    following = await insert_next_run(
        tx,
        ended,
        trigger=trigger,
        definition_key=definition_key,
        payload_json=payload_json,
        caller=caller,
    )
    return following, fenced
