"""The calls of RetentionService."""

from __future__ import annotations

from datetime import timedelta

from zart.calls.call import Call, ListCall, page_reader, plan_reader, reader, span
from zart.models import (
    Purged,
    RetentionSet,
    RetentionUnset,
    ServerRetention,
    Stats,
    TaskRetention,
)
from zart.v1 import retention_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["RetentionService"].methods_by_name


def set_retention(
    task_name: str,
    keep_for: float | timedelta | None,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[RetentionSet]:
    """Set for how long finished executions of a task are kept: seconds or a timedelta.

    None: for ever, whatever the servers are set to. Raises InvalidField.
    """
    request = pb.SetRetentionRequest(
        task_name=task_name,
        keep_for=None if keep_for is None else span(keep_for, "keep_for"),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["SetRetention"], request, reader(RetentionSet))


def unset_retention(
    task_name: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[RetentionUnset]:
    """Have what the servers are set to hold of a task again. Raises InvalidField."""
    request = pb.UnsetRetentionRequest(
        task_name=task_name,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["UnsetRetention"], request, reader(RetentionUnset))


def list_retention(*, page_size: int = 0, page_token: str = "") -> ListCall[TaskRetention]:
    """List for how long finished executions are kept, of the tasks for which that is set."""
    request = pb.ListRetentionRequest(page_size=page_size, page_token=page_token)
    return ListCall(_METHODS["ListRetention"], request, page_reader(TaskRetention, "tasks"))


def get_retention() -> Call[ServerRetention]:
    """Tell for how long executions of all other tasks are kept, and operations."""
    request = pb.ListRetentionRequest(page_size=1)
    return Call(_METHODS["ListRetention"], request, reader(ServerRetention))


def purge_executions(
    older_than: float | timedelta,
    *,
    task_name: str | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    page_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Purged]:
    """Remove finished executions that ended longer ago than that, in seconds or as a timedelta.

    Some 1,000 a call: where the answer ``is_partial``, ask again with its ``next_page_token``.
    ``validate_only`` only tells what would be removed, with a ``plan_token`` by which just that is.
    Raises PlanChanged, InvalidField.
    """
    request = pb.PurgeExecutionsRequest(
        older_than=span(older_than, "older_than"),
        task_name=task_name,
        validate_only=validate_only,
        plan_token=plan_token,
        page_token=page_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["PurgeExecutions"], request, plan_reader(Purged, request))


def get_stats() -> Call[Stats]:
    """Tell how much there is: executions by status, and the size of each table."""
    return Call(_METHODS["GetStats"], pb.GetStatsRequest(), reader(Stats))
