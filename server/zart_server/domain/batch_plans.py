"""What the items of a batch would be refused for, by what is known of them without trying."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.batches import BatchKind, BatchOperation
from zart_server.domain.errors import (
    InvalidField,
    NothingToRerun,
    RunActive,
    RunFinished,
    StepFinished,
    StepInDoubt,
    StepNotDead,
    StepRunning,
)
from zart_server.domain.graph import Graph
from zart_server.domain.model import IfRunning, RunStatus, StepStatus


class ItemState(NamedTuple):
    """How an item stands that is selected: the run, and the step, if it is one.

    ``step_status`` None: it has not ended and is not in flight, or the item is an execution.
    ``is_doubted``, ``has_happened``: whether this is so of an attempt of the step, or of one that
    is not completed.
    """

    run_status: RunStatus
    step_status: StepStatus | None = None
    is_doubted: bool = False
    has_happened: bool = False


def refused_for(operation: BatchOperation, state: ItemState, graph: Graph) -> str:
    """Return the reason for which items of such a state would be refused; empty: they are done.

    Of what is not known of all of them, such as dead steps beside completed ones, nothing is said.
    """
    kind = operation.kind
    if kind is BatchKind.CANCEL_EXECUTION:
        return RunFinished.reason if state.run_status.is_finished else ""
    if kind.is_of_steps:
        return _refused_step(operation, state)
    return _refused_run(operation, state, graph)


def _refused_step(operation: BatchOperation, state: ItemState) -> str:
    """Return it of a step, by the first of the checks of RetryStep, CompleteStep or FailStep."""
    status = state.step_status
    if state.run_status is RunStatus.CANCELLED:
        return RunFinished.reason
    if operation.kind is BatchKind.RETRY_STEP:
        if _is_kept(operation, state):
            return StepInDoubt.reason
        return "" if status is StepStatus.DEAD else StepNotDead.reason
    if status in (StepStatus.COMPLETED, StepStatus.CANCELLED):
        return StepFinished.reason
    is_to_fail = operation.kind is BatchKind.FAIL_STEP
    if is_to_fail and status is StepStatus.DEAD and not state.is_doubted:
        return StepFinished.reason
    is_left = status is StepStatus.RUNNING and not operation.fence
    return StepRunning.reason if is_left else ""


def _refused_run(operation: BatchOperation, state: ItemState, graph: Graph) -> str:
    """Return it of an execution that is to have another run."""
    is_rerun = operation.kind is BatchKind.RERUN
    if is_rerun and not {*operation.force_rerun, *operation.preserve} <= graph.index.keys():
        return InvalidField.reason
    if operation.if_running is IfRunning.FAIL and not state.run_status.is_finished:
        return RunActive.reason
    has_nothing = is_rerun and not operation.force_rerun
    if has_nothing and state.run_status is RunStatus.COMPLETED:
        return NothingToRerun.reason
    return StepInDoubt.reason if _is_kept(operation, state) else ""


def _is_kept(operation: BatchOperation, state: ItemState) -> bool:
    """Return whether it is not to run again, since it may have had its effect, or has."""
    return (state.is_doubted or state.has_happened) and not operation.accept_in_doubt
