"""Attempts in doubt: requests about them, checked and decoded, and the attempts, encoded."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart.v1 import in_doubt_pb2
from zart_server.api import encode
from zart_server.api.checks import Checks
from zart_server.api.decode_filter import filter_of
from zart_server.api.encode_step import ATTEMPT_STATUS
from zart_server.api.fields import name_of
from zart_server.domain.doubt import (
    Finding,
    InDoubtAttempt,
    LateOutcome,
    ResolveInDoubt,
)
from zart_server.domain.errors import InvalidField
from zart_server.domain.filters import ExecutionFilter

_FINDING = {f: in_doubt_pb2.InDoubtFinding.Value(f"IN_DOUBT_FINDING_{f.name}") for f in Finding}
_BY_NUMBER = {number: finding for finding, number in _FINDING.items()}


def doubts_wanted(request: pb.ListInDoubtRequest) -> ExecutionFilter:
    """Decode which attempts ListInDoubt is to list."""
    wanted = filter_of(request.filter, "filter")
    if wanted.rule_id:
        raise InvalidField("filter.rule_id", "is of PAUSED steps, and none of these is in doubt")
    return wanted


def doubt_resolved(request: pb.ResolveInDoubtRequest) -> ResolveInDoubt:
    """Decode ResolveInDoubt."""
    with Checks() as check:
        if request.run_number < 0:
            check.fail("run_number", f"is {request.run_number}, must be at least 0")
        if request.attempt < 1:
            check.fail("attempt", f"is {request.attempt}, must be at least 1")
        finding = _BY_NUMBER.get(request.finding)
        if finding is None:
            check.fail("finding", "is neither HAPPENED nor DID_NOT_HAPPEN")
        return ResolveInDoubt(
            check(name_of, request.execution_id, "execution_id"),
            request.run_number,
            check(name_of, request.step_name, "step_name"),
            request.attempt,
            finding or Finding.HAPPENED,
        )


def attempt(item: InDoubtAttempt) -> in_doubt_pb2.InDoubtAttempt:
    """Encode an attempt that is or was in doubt."""
    late = item.late_outcome
    return in_doubt_pb2.InDoubtAttempt(
        execution_id=item.execution_id,
        run_number=item.run_number,
        step_name=item.step_name,
        attempt=item.attempt,
        task_name=item.task_name,
        ended_as=ATTEMPT_STATUS[item.ended_as],
        dispatcher_id=item.dispatcher_id,
        started_at=encode.timestamp(item.started_at),
        ended_at=encode.timestamp(item.ended_at),
        finding=in_doubt_pb2.IN_DOUBT_FINDING_UNSPECIFIED
        if item.finding is None
        else _FINDING[item.finding],
        resolved_at=encode.timestamp(item.resolved_at),
        resolved_by_operation_id=item.resolved_by_operation_id,
        reason=item.reason,
        late_outcome=None if late is None else _late_outcome(late),
    )


def _late_outcome(late: LateOutcome) -> in_doubt_pb2.LateOutcome:
    return in_doubt_pb2.LateOutcome(
        status=ATTEMPT_STATUS[late.status],
        result_json=late.result_json,
        result_omitted=late.omitted,
        error=encode.step_error(late.error),
        received_at=encode.timestamp(late.received_at),
    )


def resolved(item: InDoubtAttempt) -> pb.ResolveInDoubtResponse:
    """Encode what ResolveInDoubt did; answers to mutations have no results."""
    encoded = attempt(item)
    if item.late_outcome is not None:
        encoded.late_outcome.ClearField("result_json")
    return pb.ResolveInDoubtResponse(item=encoded)
