"""The record of operations: each mutation that committed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.executions import FencedStep, StepError
from zart.models.statuses import OperationKind, RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class OperationReplaced:
    """What stood before an operation."""

    run_number: int | None
    status: RunStatus
    error: str
    completed_at: datetime | None
    step_status: StepStatus
    step_error: StepError | None
    fenced_steps: tuple[FencedStep, ...]


@dataclass(frozen=True, slots=True)
class OperationMade:
    """What an operation made."""

    run_id: str
    task_id: str
    max_attempts: int
    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    definition_version: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One mutation that committed."""

    operation_id: str
    kind: OperationKind
    execution_id: str
    run_number: int | None
    step_name: str
    rule_id: str
    task_name: str
    triggered_by: str
    reason: str
    request_id: str
    created_at: datetime | None
    replaced: OperationReplaced | None
    made: OperationMade | None
    principal: str = ""
    incident: str = ""
