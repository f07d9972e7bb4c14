"""AuditService requests, checked and decoded."""

from __future__ import annotations

from zart.v1 import audit_service_pb2 as pb
from zart_server.api.checks import Checks, incident_of
from zart_server.api.fields import MAX_NAME, has, items_of, text_of, time_of
from zart_server.domain.errors import FilterTooBroad, InvalidField
from zart_server.domain.operations import ListOperations, OperationKind, OperationStatus


def list_operations(request: pb.ListOperationsRequest) -> ListOperations:
    """Decode the filter of ListOperations. Raises FilterTooBroad."""
    with Checks() as check:
        check(items_of, request.kinds, "kinds")
        check(items_of, request.statuses, "statuses")
        kinds = [check(_kind, value, f"kinds[{n}]") for n, value in enumerate(request.kinds)]
        if request.kind:
            if kinds:
                check.fail("kind", "stands alone: leave it or kinds out")
            kinds.append(check(_kind, request.kind, "kind"))
        statuses = [
            check(_status, value, f"statuses[{n}]") for n, value in enumerate(request.statuses)
        ]
        wanted = ListOperations(
            execution_id=check(text_of, request.execution_id, "execution_id", MAX_NAME),
            kinds=tuple(dict.fromkeys(kinds)),
            triggered_by=check(text_of, request.triggered_by, "triggered_by"),
            principal=check(text_of, request.principal, "principal"),
            incident=check(incident_of, request.incident),
            batch_id=check(text_of, request.batch_id, "batch_id", MAX_NAME),
            rule_id=check(text_of, request.rule_id, "rule_id", MAX_NAME),
            breaker_id=check(text_of, request.breaker_id, "breaker_id", MAX_NAME),
            created_after=check(time_of, request.created_after, "created_after")
            if has(request, "created_after")
            else None,
            created_before=check(time_of, request.created_before, "created_before")
            if has(request, "created_before")
            else None,
            statuses=tuple(dict.fromkeys(statuses)) or (OperationStatus.DONE,),
            include_batch_items=request.include_batch_items,
        )
    _check_breadth(wanted, is_alone=_asks_by_kind_alone(request))
    return wanted


def _check_breadth(wanted: ListOperations, *, is_alone: bool) -> None:
    """Refuse starts that would be looked for among all there ever were."""
    if (
        OperationKind.START in wanted.kinds
        and OperationStatus.DONE in wanted.statuses
        and not (wanted.execution_id or wanted.created_after or is_alone)
    ):
        raise FilterTooBroad(
            "created_after", "is needed to find starts: there are as many as executions"
        )


def _asks_by_kind_alone(request: pb.ListOperationsRequest) -> bool:
    """Whether nothing but ``kind`` is set: older callers read on page by page."""
    asked = {field.name for field, _ in request.ListFields()}
    return asked <= {"kind", "page_size", "page_token"}


def _kind(value: int, field: str) -> OperationKind:
    if value == 0 or value not in pb.OperationKind.values():
        raise InvalidField(field, f"{value} is not a value of OperationKind")
    name = pb.OperationKind.Name(value)  # type: ignore[arg-type]  # it is one of them
    return OperationKind(name.removeprefix("OPERATION_KIND_").lower())


def _status(value: int, field: str) -> OperationStatus:
    if value == 0 or value not in pb.OperationStatus.values():
        raise InvalidField(field, f"{value} is not a value of OperationStatus")
    name = pb.OperationStatus.Name(value)  # type: ignore[arg-type]  # it is one of them
    return OperationStatus(name.removeprefix("OPERATION_STATUS_").lower())
