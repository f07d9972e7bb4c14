"""The calls of BatchService."""

from __future__ import annotations

from collections.abc import Iterable

from zart.calls.batch_operations import operation_of
from zart.calls.call import Call, ListCall, page_reader, plan_reader, reader
from zart.calls.choices import number_of, numbers_of
from zart.calls.filters import ExecutionFilter
from zart.calls.payload import UNSET, Unset
from zart.calls.several import several
from zart.models import (
    Batch,
    BatchItem,
    BatchItemStatus,
    BatchStatus,
    ChangedBatch,
    CreatedBatch,
    StepStatus,
    WatchUntil,
)
from zart.models.batch_operations import (
    BatchOperation,
)
from zart.v1 import admin_service_pb2, batch_pb2, execution_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["BatchService"].methods_by_name


def create_batch(
    operation: BatchOperation,
    *,
    filter: ExecutionFilter | None = None,  # noqa: A002 - the proto's name
    execution_ids: Iterable[str] | None = None,
    everything: bool = False,
    rate_per_second: float | None = None,
    canary: int | None = None,
    max_failures: int | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[CreatedBatch]:
    """Do one operation, such as ``zart.RetryStep()``, to all executions that are selected.

    The answer does not wait for it. ``rate_per_second``: at most so many items a second;
    ``canary``: pause after so many; ``max_failures``: pause once so many were refused, or ended
    badly again, but for executions that are named and have no step to select. ``validate_only``
    plans and changes nothing; the plan's ``plan_token`` given to a second call has it take only
    what matched then. Raises NothingSelected, TooManyItems, PlanChanged, NotPlanned or
    InvalidField, and TypeError unless exactly one selection is given.
    """
    request = pb.CreateBatchRequest(
        operation=operation_of(operation),
        selection=_selection(filter, execution_ids, everything=everything),
        rate_per_second=rate_per_second,
        canary=canary,
        max_failures=max_failures,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["CreateBatch"], request, plan_reader(CreatedBatch, request))


def _selection(
    wanted: ExecutionFilter | None, execution_ids: Iterable[str] | None, *, everything: bool
) -> filter_pb2.ExecutionSelection:
    if (wanted is not None) + (execution_ids is not None) + everything != 1:
        raise TypeError("give one of filter, execution_ids and everything")
    if wanted is not None:
        return filter_pb2.ExecutionSelection(filter=wanted.to_message())
    if execution_ids is None:
        return filter_pb2.ExecutionSelection(everything=True)
    ids = filter_pb2.ExecutionIds(execution_ids=several(execution_ids))
    return filter_pb2.ExecutionSelection(execution_ids=ids)


def get_batch(batch_id: str) -> Call[Batch]:
    """Read a batch with what became of its items. Raises BatchNotFound."""
    read = reader(Batch)
    request = pb.GetBatchRequest(batch_id=batch_id)
    return Call(_METHODS["GetBatch"], request, lambda answer: read(answer.batch))


def list_batches(
    *, statuses: Iterable[BatchStatus | str] = (), page_size: int = 0, page_token: str = ""
) -> ListCall[Batch]:
    """List batches, newest first, without what became of their items."""
    request = pb.ListBatchesRequest(
        statuses=numbers_of(batch_pb2.BatchStatus, statuses, "statuses"),
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListBatches"], request, page_reader(Batch, "batches"))


def list_batch_items(
    batch_id: str,
    *,
    statuses: Iterable[BatchItemStatus | str] = (),
    step_statuses: Iterable[StepStatus | str] = (),
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[BatchItem]:
    """List the items of a batch, those of some statuses, or whose step has one of some now.

    Raises BatchNotFound.
    """
    request = pb.ListBatchItemsRequest(
        batch_id=batch_id,
        statuses=numbers_of(batch_pb2.BatchItemStatus, statuses, "statuses"),
        step_statuses=numbers_of(execution_pb2.StepStatus, step_statuses, "step_statuses"),
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListBatchItems"], request, page_reader(BatchItem, "items"))


def update_batch(
    batch_id: str,
    *,
    rate_per_second: float | Unset | None = UNSET,
    max_failures: int | Unset | None = UNSET,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBatch]:
    """Change the pace of a batch, or how many failures it bears; None takes the bound away.

    Raises BatchNotFound, BatchFinished, and InvalidField, also if nothing is given.
    """
    request = pb.UpdateBatchRequest(
        batch_id=batch_id,
        rate_per_second=None if isinstance(rate_per_second, Unset) else rate_per_second,
        max_failures=None if isinstance(max_failures, Unset) else max_failures,
        unpaced=rate_per_second is None,
        any_failures=max_failures is None,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["UpdateBatch"], request, reader(ChangedBatch))


def pause_batch(
    batch_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBatch]:
    """Have no further item done until it is resumed; one that is paused stays as it is.

    Raises BatchNotFound or BatchFinished.
    """
    request = pb.PauseBatchRequest(
        batch_id=batch_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["PauseBatch"], request, reader(ChangedBatch))


def resume_batch(
    batch_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBatch]:
    """Have a paused batch go on, whatever paused it; others stay as they are.

    Raises BatchNotFound or BatchFinished.
    """
    request = pb.ResumeBatchRequest(
        batch_id=batch_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["ResumeBatch"], request, reader(ChangedBatch))


def cancel_batch(
    batch_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ChangedBatch]:
    """End a batch; what it has done stays done. One that is cancelled stays as it is.

    Raises BatchNotFound or BatchFinished.
    """
    request = pb.CancelBatchRequest(
        batch_id=batch_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["CancelBatch"], request, reader(ChangedBatch))


def watch_batch(batch_id: str, *, until: WatchUntil | str = WatchUntil.ENDED) -> Call[Batch]:
    """Watch a batch: as it is, then whenever it is otherwise, until it is over.

    With ``until`` DRAINED until besides nothing that it has made runs, or is about to. Raises
    BatchNotFound.
    """
    wanted = number_of(admin_service_pb2.WatchUntil, until, "until")
    read = reader(Batch)
    request = pb.WatchBatchRequest(batch_id=batch_id, until=wanted)
    return Call(_METHODS["WatchBatch"], request, lambda answer: read(answer.batch))
