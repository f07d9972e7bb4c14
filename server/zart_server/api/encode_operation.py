"""What the audit tells, as protos."""

from __future__ import annotations

from datetime import timedelta

from google.rpc import code_pb2

from zart.v1 import audit_service_pb2 as pb
from zart.v1 import error_reason_pb2, execution_pb2, refusal_pb2
from zart_server.api import encode
from zart_server.api.encode_step import RESOLUTION, STEP_STATUS
from zart_server.domain.operations import Operation, OperationKind, OperationStatus, Refusal
from zart_server.domain.rule_holds import RuleHold

_KIND = {k: pb.OperationKind.Value(f"OPERATION_KIND_{k.name}") for k in OperationKind}
_STATUS = {s: pb.OperationStatus.Value(f"OPERATION_STATUS_{s.name}") for s in OperationStatus}


def operation(item: Operation) -> pb.Operation:
    """Encode an operation."""
    replaced, made = item.replaced, item.made
    return pb.Operation(
        operation_id=item.operation_id,
        kind=_KIND[item.kind],
        execution_id=item.execution_id,
        run_number=item.run_number,
        step_name=item.step_name,
        rule_id=item.rule_id,
        task_name=item.task_name,
        triggered_by=item.triggered_by,
        reason=item.reason,
        request_id=item.request_id,
        incident=item.incident,
        created_at=encode.timestamp(item.created_at),
        replaced=pb.OperationReplaced(
            run_number=replaced.run_number,
            status=encode.RUN_STATUS[replaced.status]
            if replaced.status
            else execution_pb2.RUN_STATUS_UNSPECIFIED,
            error=replaced.error,
            completed_at=encode.timestamp(replaced.completed_at),
            step_status=STEP_STATUS[replaced.step_status]
            if replaced.step_status
            else execution_pb2.STEP_STATUS_UNSPECIFIED,
            step_error=encode.step_error(replaced.step_error),
            fenced_steps=[encode.fenced_step(one) for one in replaced.fenced_steps],
            rate_per_second=replaced.rate_per_second,
        ),
        made=pb.OperationMade(
            run_id=made.run_id,
            task_id=made.task_id,
            max_attempts=made.max_attempts,
            effective_rerun=made.effective_rerun,
            preserved=made.preserved,
            definition_version=made.definition_version,
            is_exempt=made.is_exempt,
            expires_at=encode.timestamp(made.expires_at),
            corrected_input_steps=made.corrected_input_steps,
            resolution=RESOLUTION[made.resolution],
            finding=made.finding,
            keep_for=encode.duration(timedelta(seconds=made.keep_seconds))
            if made.keep_seconds
            else None,
            removed_executions=made.removed_executions,
            removed_runs=made.removed_runs,
            removed_operations=made.removed_operations,
            ended_before=encode.timestamp(made.ended_before),
            canary=made.canary,
            rate_per_second=made.rate_per_second,
            released_steps=made.released_steps,
        ),
        principal=item.principal,
        status=_STATUS[item.status],
        refusal=None if item.refusal is None else refusal(item.refusal),
        batch_id=item.batch_id,
        breaker_id=item.breaker_id,
    )


def rule_hold(item: RuleHold) -> pb.RuleHold:
    """Encode the time that a rule held a step for."""
    return pb.RuleHold(
        rule_id=item.rule.rule_id,
        run_number=item.run_number,
        step_name=item.step_name,
        held_from=encode.timestamp(item.since),
        held_until=encode.timestamp(item.until),
        created_by=item.rule.created_by,
        reason=item.rule.reason,
    )


def refusal(item: Refusal) -> refusal_pb2.Refusal:
    """Encode why something was refused."""
    return refusal_pb2.Refusal(
        reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{item.reason}"),
        code=code_pb2.Code.Value(item.code),
        message=item.message,
        metadata=item.metadata,
    )
