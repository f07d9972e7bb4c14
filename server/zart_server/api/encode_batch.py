"""Batches to proto."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zart.v1 import admin_service_pb2, batch_pb2, error_reason_pb2, filter_pb2
from zart_server.api.encode import RUN_STATUS, timestamp
from zart_server.api.encode_operation import refusal
from zart_server.api.encode_step import STEP_STATUS
from zart_server.domain.batch_counts import Outcomes
from zart_server.domain.batches import (
    Batch,
    BatchItem,
    BatchItemStatus,
    BatchKind,
    BatchOperation,
    BatchPauseCause,
    BatchPlan,
    BatchStatus,
    BatchStop,
    Selection,
)
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import IfRunning

_STATUS = {s: batch_pb2.BatchStatus.Value(f"BATCH_STATUS_{s.name}") for s in BatchStatus}
_CAUSE = {
    c: batch_pb2.BatchPauseCause.Value(f"BATCH_PAUSE_CAUSE_{c.name}") for c in BatchPauseCause
}
_ITEM = {s: batch_pb2.BatchItemStatus.Value(f"BATCH_ITEM_STATUS_{s.name}") for s in BatchItemStatus}
_IF_RUNNING = {
    IfRunning.FAIL: admin_service_pb2.IF_RUNNING_FAIL,
    IfRunning.SUPERSEDE: admin_service_pb2.IF_RUNNING_SUPERSEDE,
}
_OUTCOMES = (
    "completed", "dead", "running", "paused", "scheduled", "pending", "cancelled", "superseded",
)  # fmt: skip


def batch(item: Batch) -> batch_pb2.Batch:
    """Encode a batch."""
    counts, is_cancelled = item.counts, item.status is BatchStatus.CANCELLED
    return batch_pb2.Batch(
        batch_id=item.batch_id,
        status=_STATUS[item.status],
        pause_cause=batch_pb2.BATCH_PAUSE_CAUSE_UNSPECIFIED
        if item.pause_cause is None
        else _CAUSE[item.pause_cause],
        operation=_operation(item.operation),
        selection=_selection(item.selection),
        as_of=timestamp(item.as_of),
        counts=batch_pb2.BatchCounts(
            selected=counts.selected,
            done=counts.done,
            refused=counts.refused,
            pending=0 if is_cancelled else counts.left,
            cancelled=counts.left if is_cancelled else 0,
        ),
        outcomes=None if item.outcomes is None else _outcomes(item.outcomes),
        rate_per_second=item.pace.rate_per_second,
        canary=item.pace.canary,
        max_failures=item.pace.max_failures,
        created_by=item.created_by,
        principal=item.principal,
        reason=item.reason,
        incident=item.incident,
        error=item.error,
        created_at=timestamp(item.created_at),
        started_at=timestamp(item.started_at),
        completed_at=timestamp(item.completed_at),
        expected_end_at=timestamp(item.expected_end_at),
        stop=None if item.stop is None else _stop(item.stop),
    )


def _stop(stop: BatchStop) -> batch_pb2.BatchStop:
    return batch_pb2.BatchStop(
        stopped_at=timestamp(stop.at),
        stopped_by=stop.by,
        principal=stop.principal,
        reason=stop.reason,
        incident=stop.incident,
    )


def _outcomes(outcomes: Outcomes) -> batch_pb2.BatchOutcomes:
    return batch_pb2.BatchOutcomes(**{name: getattr(outcomes, name) for name in _OUTCOMES})


def _selection(selection: Selection) -> filter_pb2.ExecutionSelection:
    if selection.filter is not None:
        return filter_pb2.ExecutionSelection(filter=_filter(selection.filter))
    if selection.is_everything:
        return filter_pb2.ExecutionSelection(everything=True)
    ids = filter_pb2.ExecutionIds(execution_ids=selection.execution_ids)
    return filter_pb2.ExecutionSelection(execution_ids=ids)


def _filter(wanted: ExecutionFilter) -> filter_pb2.ExecutionFilter:
    return filter_pb2.ExecutionFilter(
        task_name=wanted.task_name,
        statuses=[RUN_STATUS[status] for status in wanted.statuses],
        step_statuses=[STEP_STATUS[status] for status in wanted.step_statuses],
        step_pattern=wanted.step_pattern,
        error_group_id=wanted.error_group_id,
        error_contains=wanted.error_contains,
        dead_after=timestamp(wanted.dead_after),
        dead_before=timestamp(wanted.dead_before),
        created_after=timestamp(wanted.created_after),
        created_before=timestamp(wanted.created_before),
        execution_id_prefix=wanted.execution_id_prefix,
        triggered_by=wanted.triggered_by,
        batch_id=wanted.batch_id,
        rule_id=wanted.rule_id,
    )


def _operation(operation: BatchOperation) -> batch_pb2.BatchOperation:
    return _ENCODERS[operation.kind](operation)


def _retry_step(operation: BatchOperation) -> batch_pb2.BatchOperation:
    retry = batch_pb2.BatchRetryStep(
        max_attempts=operation.max_attempts, accept_in_doubt=operation.accept_in_doubt
    )
    if operation.input_json is not None:
        retry.input_json = operation.input_json
    return batch_pb2.BatchOperation(retry_step=retry)


def _restart(operation: BatchOperation) -> batch_pb2.BatchOperation:
    restart = batch_pb2.BatchRestart(
        if_running=_IF_RUNNING[operation.if_running], accept_in_doubt=operation.accept_in_doubt
    )
    if operation.payload_json is not None:
        restart.payload_json = operation.payload_json
    return batch_pb2.BatchOperation(restart=restart)


def _rerun(operation: BatchOperation) -> batch_pb2.BatchOperation:
    rerun = batch_pb2.BatchRerun(
        force_rerun=operation.force_rerun,
        preserve=operation.preserve,
        include_downstream=operation.include_downstream,
        if_running=_IF_RUNNING[operation.if_running],
        accept_in_doubt=operation.accept_in_doubt,
    )
    return batch_pb2.BatchOperation(rerun=rerun)


def _cancel(_operation: BatchOperation) -> batch_pb2.BatchOperation:
    return batch_pb2.BatchOperation(cancel_execution=batch_pb2.BatchCancelExecution())


def _complete_step(operation: BatchOperation) -> batch_pb2.BatchOperation:
    complete = batch_pb2.BatchCompleteStep(fence=operation.fence)
    if operation.is_skip:
        complete.skip = True
    else:
        complete.result_json = operation.result_json
    return batch_pb2.BatchOperation(complete_step=complete)


def _fail_step(operation: BatchOperation) -> batch_pb2.BatchOperation:
    fail = batch_pb2.BatchFailStep(message=operation.message, fence=operation.fence)
    return batch_pb2.BatchOperation(fail_step=fail)


_ENCODERS: Mapping[BatchKind, Callable[[BatchOperation], batch_pb2.BatchOperation]] = {
    BatchKind.RETRY_STEP: _retry_step,
    BatchKind.RESTART: _restart,
    BatchKind.RERUN: _rerun,
    BatchKind.CANCEL_EXECUTION: _cancel,
    BatchKind.COMPLETE_STEP: _complete_step,
    BatchKind.FAIL_STEP: _fail_step,
}


def batch_item(item: BatchItem) -> batch_pb2.BatchItem:
    """Encode an item."""
    encoded = batch_pb2.BatchItem(
        execution_id=item.execution_id,
        run_number=item.run_number,
        step_name=item.step_name,
        status=_ITEM[item.status],
        operation_id=item.operation_id,
        refusal=None if item.refusal is None else refusal(item.refusal),
        done_at=timestamp(item.done_at),
    )
    if item.step_status is not None:
        encoded.step_status = STEP_STATUS[item.step_status]
    if item.run_status is not None:
        encoded.run_status = RUN_STATUS[item.run_status]
    return encoded


def batch_plan(plan: BatchPlan) -> batch_pb2.BatchPlan:
    """Encode a plan."""
    return batch_pb2.BatchPlan(
        executions=plan.executions,
        items=plan.items,
        as_of=timestamp(plan.as_of),
        kinds=[
            batch_pb2.BatchPlanKind(
                refused_for=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{kind.refused_for}")
                if kind.refused_for
                else error_reason_pb2.ERROR_REASON_UNSPECIFIED,
                items=kind.items,
                sample_execution_ids=kind.sample_execution_ids,
            )
            for kind in plan.kinds
        ],
        sample_execution_ids=plan.sample_execution_ids,
    )
