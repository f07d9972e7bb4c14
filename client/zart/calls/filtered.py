"""The calls that take a filter of executions: lists, counts, and groups of errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zart.calls.call import Call, ListCall, moment, page_reader, reader
from zart.calls.filters import ExecutionFilter, run_statuses
from zart.calls.filters import step_statuses as encoded_step_statuses
from zart.models import ErrorGroup, Execution, ExecutionCounts, RunStatus, StepStatus
from zart.v1 import execution_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["ExecutionService"].methods_by_name


def list_executions(
    filter: ExecutionFilter | None = None,  # noqa: A002 - the proto's name
    *,
    task_name: str = "",
    statuses: Sequence[RunStatus | str] = (),
    step_statuses: Sequence[StepStatus | str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[Execution]:
    """List executions, newest first, by a ``zart.ExecutionFilter`` or by single conditions.

    Statuses are given by name. Raises FilterTooBroad, ErrorGroupNotFound, PauseRuleNotFound, and
    ValueError for an unknown status; InvalidField for a filter beside single conditions.
    """
    request = pb.ListExecutionsRequest(
        filter=None if filter is None else filter.to_message(),
        task_name=task_name,
        statuses=run_statuses(statuses),
        step_statuses=encoded_step_statuses(step_statuses),
        created_after=moment(created_after, "created_after"),
        created_before=moment(created_before, "created_before"),
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListExecutions"], request, page_reader(Execution, "executions"))


def count_executions(
    filter: ExecutionFilter | None = None,  # noqa: A002 - the proto's name
) -> Call[ExecutionCounts]:
    """Count the executions that a filter matches (None: all), by status and by states of steps.

    Raises as list_executions.
    """
    request = pb.CountExecutionsRequest(filter=None if filter is None else filter.to_message())
    return Call(_METHODS["CountExecutions"], request, reader(ExecutionCounts))


def list_error_groups(
    filter: ExecutionFilter | None = None,  # noqa: A002 - the proto's name
    *,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[ErrorGroup]:
    """List the kinds of errors that steps are DEAD of, those of the most steps first.

    Raises as list_executions.
    """
    request = pb.ListErrorGroupsRequest(
        filter=None if filter is None else filter.to_message(),
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListErrorGroups"], request, page_reader(ErrorGroup, "error_groups"))
