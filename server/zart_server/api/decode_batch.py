"""BatchService requests, checked and decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from zart.v1 import admin_service_pb2, batch_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as pb
from zart_server.api import call_trace
from zart_server.api.checks import Checks
from zart_server.api.decode_admin import IF_RUNNING, UNTIL
from zart_server.api.decode_by_hand import result_of
from zart_server.api.decode_filter import filter_of, step_status_of
from zart_server.api.fields import (
    has,
    items_of,
    json_of,
    lines_of,
    name_of,
    names_of,
    optional_number,
)
from zart_server.api.identity import may_have
from zart_server.api.plans import planning_of
from zart_server.domain.batches import (
    MOST_CANARY,
    MOST_ITEMS,
    BatchItemStatus,
    BatchKind,
    BatchOperation,
    BatchStatus,
    CreateBatch,
    OneBatch,
    Pace,
    Selection,
    UpdateBatch,
)
from zart_server.domain.errors import InvalidField, RoleRequired
from zart_server.domain.graph import MAX_STEPS
from zart_server.domain.identity import Role
from zart_server.domain.model import MOST_ATTEMPTS, IfRunning, StepStatus, WatchUntil
from zart_server.domain.pacing import FASTEST, SLOWEST
from zart_server.domain.rerun import check_apart

OneBatchRequest: TypeAlias = (
    pb.GetBatchRequest | pb.PauseBatchRequest | pb.ResumeBatchRequest | pb.CancelBatchRequest
)


def one_batch(request: OneBatchRequest) -> OneBatch:
    """Decode a request about one batch."""
    may_cancel = may_have(Role.STARTER)
    return OneBatch(name_of(request.batch_id, "batch_id"), may_cancel)


def watch_batch(request: pb.WatchBatchRequest) -> tuple[str, WatchUntil]:
    """Decode WatchBatch."""
    with Checks() as check:
        if request.until not in UNTIL:
            check.fail("until", f"{request.until} is not a value of WatchUntil")
        return check(name_of, request.batch_id, "batch_id"), UNTIL[request.until]


def create_batch(request: pb.CreateBatchRequest) -> CreateBatch:
    """Decode CreateBatch. Raises RoleRequired if its caller may not have executions cancelled."""
    is_cancelling = request.operation.WhichOneof("operation") == "cancel_execution"
    if is_cancelling and not may_have(Role.STARTER):
        raise RoleRequired(Role.STARTER, "to have executions cancelled")
    with Checks() as check:
        command = CreateBatch(
            operation=check(_operation, request.operation),
            selection=check(_selection, request.selection),
            pace=Pace(
                check(_rate, request),
                check(optional_number, request, "canary", 1, MOST_CANARY),
                check(optional_number, request, "max_failures", 1, MOST_ITEMS),
            ),
            planning=check(planning_of, request),
            traceparent=call_trace.traceparent(),
        )
    wanted = command.selection.filter
    is_by_hand = command.operation.kind in (BatchKind.COMPLETE_STEP, BatchKind.FAIL_STEP)
    if is_by_hand and not (wanted is not None and wanted.has_step_conditions):
        raise InvalidField(
            "selection", "has no condition on steps, such as step_pattern: which ones?"
        )
    return command


def update_batch(request: pb.UpdateBatchRequest) -> UpdateBatch:
    """Decode UpdateBatch."""
    with Checks() as check:
        if request.unpaced and has(request, "rate_per_second"):
            check.fail("unpaced", "stands without rate_per_second")
        if request.any_failures and has(request, "max_failures"):
            check.fail("any_failures", "stands without max_failures")
        command = UpdateBatch(
            batch_id=check(name_of, request.batch_id, "batch_id"),
            rate_per_second=check(_rate, request),
            max_failures=check(optional_number, request, "max_failures", 1, MOST_ITEMS),
            unpaced=request.unpaced,
            any_failures=request.any_failures,
            may_cancel_executions=may_have(Role.STARTER),
        )
        is_any = command.unpaced or command.any_failures
        if not (is_any or has(request, "rate_per_second") or has(request, "max_failures")):
            check.fail("rate_per_second", "nothing is to be changed: set it, or max_failures")
    return command


def list_batches(request: pb.ListBatchesRequest) -> tuple[BatchStatus, ...]:
    """Decode the filter of ListBatches."""
    with Checks() as check:
        check(items_of, request.statuses, "statuses")
        found = [
            check(_batch_status, value, f"statuses[{n}]")
            for n, value in enumerate(request.statuses)
        ]
    return tuple(dict.fromkeys(found))


def list_batch_items(
    request: pb.ListBatchItemsRequest,
) -> tuple[str, tuple[BatchItemStatus, ...], tuple[StepStatus, ...]]:
    """Decode the batch and the filter of ListBatchItems."""
    with Checks() as check:
        check(items_of, request.statuses, "statuses")
        check(items_of, request.step_statuses, "step_statuses")
        statuses = [
            check(_item_status, value, f"statuses[{n}]") for n, value in enumerate(request.statuses)
        ]
        steps = [
            check(step_status_of, value, f"step_statuses[{n}]")
            for n, value in enumerate(request.step_statuses)
        ]
        batch_id = check(name_of, request.batch_id, "batch_id")
    return batch_id, tuple(dict.fromkeys(statuses)), tuple(dict.fromkeys(steps))


def _batch_status(value: batch_pb2.BatchStatus.ValueType, field: str) -> BatchStatus:
    if value not in _BATCH_STATUS:
        raise InvalidField(field, f"{value} is not a value of BatchStatus")
    return _BATCH_STATUS[value]


def _item_status(value: batch_pb2.BatchItemStatus.ValueType, field: str) -> BatchItemStatus:
    if value not in _ITEM_STATUS:
        raise InvalidField(field, f"{value} is not a value of BatchItemStatus")
    return _ITEM_STATUS[value]


def _rate(request: pb.CreateBatchRequest | pb.UpdateBatchRequest) -> float | None:
    if not has(request, "rate_per_second"):
        return None
    rate = request.rate_per_second
    if not math.isfinite(rate) or not SLOWEST <= rate <= FASTEST:
        raise InvalidField("rate_per_second", f"is {rate:g}, must be {SLOWEST:g} to {FASTEST:,.0f}")
    return rate


def _selection(selection: filter_pb2.ExecutionSelection) -> Selection:
    which = selection.WhichOneof("by")
    if which == "filter":
        wanted = filter_of(selection.filter, "selection.filter", by_clock=False)
        if wanted.is_empty:
            raise InvalidField("selection.filter", "is empty: all executions are everything")
        return Selection(filter=wanted)
    if which == "everything" and selection.everything:
        return Selection()
    if which != "execution_ids":
        raise InvalidField("selection", "set filter, execution_ids, or everything")
    field = "selection.execution_ids.execution_ids"
    ids = names_of(selection.execution_ids.execution_ids, field, MOST_ITEMS)
    if not ids:
        raise InvalidField(field, "is empty: all executions are everything")
    return Selection(tuple(dict.fromkeys(ids)))


def _operation(operation: batch_pb2.BatchOperation) -> BatchOperation:
    which = operation.WhichOneof("operation")
    if which is None:
        raise InvalidField("operation", "is empty")
    return _DECODERS[which](getattr(operation, which), f"operation.{which}")


def _retry_step(wanted: batch_pb2.BatchRetryStep, path: str) -> BatchOperation:
    with Checks() as check:
        attempts = check(_attempts, wanted, path)
        return BatchOperation(
            BatchKind.RETRY_STEP,
            max_attempts=attempts,
            accept_in_doubt=wanted.accept_in_doubt,
            input_json=check(json_of, wanted, "input_kind", "input", f"{path}."),
        )


def _attempts(wanted: batch_pb2.BatchRetryStep, path: str) -> int | None:
    number = wanted.max_attempts if has(wanted, "max_attempts") else None
    if number is not None and not 1 <= number <= MOST_ATTEMPTS:
        raise InvalidField(f"{path}.max_attempts", f"is {number}, must be 1 to {MOST_ATTEMPTS}")
    return number


def _restart(wanted: batch_pb2.BatchRestart, path: str) -> BatchOperation:
    with Checks() as check:
        return BatchOperation(
            BatchKind.RESTART,
            payload_json=check(json_of, wanted, "payload_kind", "payload", f"{path}."),
            if_running=check(_if_running, wanted.if_running, path),
            accept_in_doubt=wanted.accept_in_doubt,
        )


def _rerun(wanted: batch_pb2.BatchRerun, path: str) -> BatchOperation:
    with Checks() as check:
        forced = check(names_of, wanted.force_rerun, f"{path}.force_rerun", MAX_STEPS)
        kept = check(names_of, wanted.preserve, f"{path}.preserve", MAX_STEPS)
        if forced and kept:  # whatever graphs there are, each item would be refused
            check(check_apart, forced, kept, f"{path}.")
        return BatchOperation(
            BatchKind.RERUN,
            force_rerun=forced,
            preserve=kept,
            include_downstream=wanted.include_downstream,
            if_running=check(_if_running, wanted.if_running, path),
            accept_in_doubt=wanted.accept_in_doubt,
        )


def _cancel(_wanted: batch_pb2.BatchCancelExecution, _path: str) -> BatchOperation:
    return BatchOperation(BatchKind.CANCEL_EXECUTION)


def _if_running(value: admin_service_pb2.IfRunning.ValueType, path: str) -> IfRunning:
    if value not in IF_RUNNING:
        raise InvalidField(f"{path}.if_running", f"{value} is not a value of IfRunning")
    return IF_RUNNING[value] if value else IfRunning.FAIL


def _complete_step(wanted: batch_pb2.BatchCompleteStep, path: str) -> BatchOperation:
    with Checks() as check:
        return BatchOperation(
            BatchKind.COMPLETE_STEP,
            result_json=check(result_of, wanted, f"{path}."),
            is_skip=wanted.skip,
            fence=wanted.fence,
        )


def _fail_step(wanted: batch_pb2.BatchFailStep, path: str) -> BatchOperation:
    with Checks() as check:
        if not wanted.message or wanted.message.isspace():
            check.fail(f"{path}.message", "is empty: say why the steps are failed")
        return BatchOperation(
            BatchKind.FAIL_STEP,
            message=check(lines_of, wanted.message, f"{path}.message"),
            fence=wanted.fence,
        )


_DECODERS: Mapping[str, Callable[[Any, str], BatchOperation]] = {
    "retry_step": _retry_step,
    "restart": _restart,
    "rerun": _rerun,
    "cancel_execution": _cancel,
    "complete_step": _complete_step,
    "fail_step": _fail_step,
}
_BATCH_STATUS = {
    batch_pb2.BatchStatus.Value(f"BATCH_STATUS_{status.name}"): status for status in BatchStatus
}
_ITEM_STATUS = {
    batch_pb2.BatchItemStatus.Value(f"BATCH_ITEM_STATUS_{status.name}"): status
    for status in BatchItemStatus
}
