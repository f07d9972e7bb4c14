"""What the items of a batch would be refused for, by what is known of them without trying."""

from __future__ import annotations

from zart_server.domain.batches import BatchKind, BatchOperation
from zart_server.domain.errors import InvalidField, NothingToRerun, RunActive, RunFinished
from zart_server.domain.graph import Graph
from zart_server.domain.model import IfRunning, RunStatus


def refused_for(operation: BatchOperation, run_status: RunStatus, graph: Graph) -> str:
    """Return the reason for which items of such runs would be refused; empty: they would be done.

    Of what is not known of all of them, such as dead steps beside completed ones, nothing is said.
    """
    kind = operation.kind
    if kind is BatchKind.CANCEL_EXECUTION:
        return RunFinished.reason if run_status.is_finished else ""
    if kind.is_of_steps:
        return RunFinished.reason if run_status is RunStatus.CANCELLED else ""
    if kind is BatchKind.RERUN:
        named = {*operation.force_rerun, *operation.preserve}
        if not named <= graph.index.keys():
            return InvalidField.reason
    if operation.if_running is IfRunning.FAIL and not run_status.is_finished:
        return RunActive.reason
    is_kept = kind is BatchKind.RERUN and not operation.force_rerun
    return NothingToRerun.reason if is_kept and run_status is RunStatus.COMPLETED else ""
