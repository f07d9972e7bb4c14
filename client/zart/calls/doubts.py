"""The calls of AdminService about attempts in doubt."""

from __future__ import annotations

from zart.calls.call import Call, ListCall, page_reader, reader
from zart.calls.choices import number_of
from zart.calls.filters import ExecutionFilter
from zart.models import InDoubtAttempt, InDoubtFinding, ResolvedInDoubt
from zart.v1 import admin_service_pb2 as pb
from zart.v1 import in_doubt_pb2

_METHODS = pb.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


def list_in_doubt(
    filter: ExecutionFilter | None = None,  # noqa: A002 - the contract's name
    *,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[InDoubtAttempt]:
    """List the attempts in doubt, newest first: of steps declared ``once`` that may have happened.

    The filter's conditions on steps are those of the attempt's own step. Raises InvalidField for
    one that it does not go by.
    """
    request = pb.ListInDoubtRequest(
        filter=None if filter is None else filter.to_message(),
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListInDoubt"], request, page_reader(InDoubtAttempt, "items"))


def resolve_in_doubt(
    execution_id: str,
    step_name: str,
    finding: InDoubtFinding | str,
    *,
    run_number: int,
    attempt: int,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[ResolvedInDoubt]:
    """Record what was found out about an attempt: HAPPENED or DID_NOT_HAPPEN. Its step stays.

    Raises NotInDoubt, AttemptNotFound or another NotFound, and ValueError for another finding.
    """
    request = pb.ResolveInDoubtRequest(
        execution_id=execution_id,
        run_number=run_number,
        step_name=step_name,
        attempt=attempt,
        finding=number_of(in_doubt_pb2.InDoubtFinding, finding, "finding"),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["ResolveInDoubt"], request, reader(ResolvedInDoubt))
