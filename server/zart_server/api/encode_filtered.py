"""Answers about what a filter matches: counts, and groups of errors."""

from __future__ import annotations

from zart.v1 import error_group_pb2
from zart.v1 import execution_service_pb2 as pb
from zart_server.api import encode, encode_step
from zart_server.domain.filters import ErrorGroup, ExecutionCounts


def counts(found: ExecutionCounts) -> pb.CountExecutionsResponse:
    """Encode counts; statuses that none has are left out."""
    return pb.CountExecutionsResponse(
        total=found.total,
        total_is_lower_bound=found.total_is_lower_bound,
        by_status=[
            pb.StatusCount(status=encode.RUN_STATUS[status], executions=n)
            for status, n in sorted(found.by_status.items())
            if n
        ],
        by_step_status=[
            pb.StepStatusCount(status=encode_step.STEP_STATUS[status], executions=n)
            for status, n in sorted(found.by_step_status.items())
            if n
        ],
        by_step_status_is_lower_bound=found.by_step_status_is_lower_bound,
    )


def error_group(found: ErrorGroup) -> error_group_pb2.ErrorGroup:
    """Encode a group of errors."""
    return error_group_pb2.ErrorGroup(
        error_group_id=found.error_group_id,
        task_name=found.task_name,
        step_name=found.step_name,
        type=found.type,
        template=found.template,
        dead_steps=found.dead_steps,
        dead_steps_is_lower_bound=found.dead_steps_is_lower_bound,
        first_seen=encode.timestamp(found.first_seen),
        last_seen=encode.timestamp(found.last_seen),
        sample_execution_ids=found.sample_execution_ids,
    )
