"""The calls of AuditService."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from zart.calls.call import Call, ListCall, moment, page_reader, reader
from zart.calls.choices import number_of, numbers_of
from zart.models import Operation, OperationKind, OperationStatus, RuleHolds
from zart.v1 import audit_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["AuditService"].methods_by_name


def list_operations(
    *,
    execution_id: str = "",
    kind: OperationKind | str | None = None,
    kinds: Iterable[OperationKind | str] = (),
    triggered_by: str = "",
    principal: str = "",
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    incident: str = "",
    batch_id: str = "",
    rule_id: str = "",
    breaker_id: str = "",
    statuses: Iterable[OperationStatus | str] = (),
    include_batch_items: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[Operation]:
    """List who did what, newest first: what matches every field given.

    ``statuses`` empty means DONE; REFUSED and PLANNED tell what was refused or only planned.
    Starts are left out as soon as anything but ``execution_id``, ``statuses`` and
    ``include_batch_items`` is given, unless ``kinds`` names them, which needs ``created_after``.
    Raises FilterTooBroad, and ValueError for an unknown kind or status.
    """
    request = pb.ListOperationsRequest(
        execution_id=execution_id,
        kind=pb.OPERATION_KIND_UNSPECIFIED
        if kind is None
        else number_of(pb.OperationKind, kind, "kind"),
        kinds=numbers_of(pb.OperationKind, kinds, "kinds"),
        triggered_by=triggered_by,
        principal=principal,
        created_after=moment(created_after, "created_after"),
        created_before=moment(created_before, "created_before"),
        incident=incident,
        batch_id=batch_id,
        rule_id=rule_id,
        breaker_id=breaker_id,
        statuses=numbers_of(pb.OperationStatus, statuses, "statuses"),
        include_batch_items=include_batch_items,
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListOperations"], request, page_reader(Operation, "operations"))


def list_rule_holds(execution_id: str) -> Call[RuleHolds]:
    """Tell which pause rules held an execution's steps, from when to when, newest first.

    Raises ExecutionNotFound.
    """
    request = pb.ListRuleHoldsRequest(execution_id=execution_id)
    return Call(_METHODS["ListRuleHolds"], request, reader(RuleHolds))
