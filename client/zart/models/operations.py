"""The record of operations: what was done, and what was refused or only planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from zart.models.executions import FencedStep, StepError
from zart.models.statuses import (
    OperationKind,
    OperationStatus,
    RunStatus,
    StepResolution,
    StepStatus,
)


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
    rate_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class OperationMade:
    """What an operation made."""

    run_id: str
    task_id: str
    max_attempts: int
    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    definition_version: int
    is_exempt: bool | None = None
    expires_at: datetime | None = None
    corrected_input_steps: tuple[str, ...] = ()
    resolution: StepResolution = StepResolution.UNSPECIFIED
    finding: str = ""
    keep_for: timedelta | None = None
    removed_executions: int = 0
    removed_runs: int = 0
    removed_operations: int = 0
    ended_before: datetime | None = None
    canary: int = 0
    rate_per_second: float = 0.0
    released_steps: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an operation was refused: names of a reason and of a status code, and what they say.

    Of fields that cannot be right it has the names, never the values.
    """

    reason: str
    code: str
    message: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One mutation that committed; or that was planned or refused, as ``status`` says."""

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
    batch_id: str = ""
    breaker_id: str = ""
    status: OperationStatus = OperationStatus.DONE
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class RuleHold:
    """One step that waited while a pause rule withheld it. ``held_until`` None: it still does."""

    rule_id: str
    run_number: int
    step_name: str
    held_from: datetime | None
    held_until: datetime | None
    created_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RuleHolds:
    """Which pause rules held an execution's steps, newest first.

    ``is_partial``: there may be others, of earlier runs, of rules before the newest 5,000, or
    beyond 1,000.
    """

    holds: tuple[RuleHold, ...]
    is_partial: bool
