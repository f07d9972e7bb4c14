"""The record of an operation: what stood before it and what it made, or why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from zart_server.domain.model import FencedStep, RunStatus, StepError, StepStatus
from zart_server.domain.step_resolution import StepResolution


class OperationKind(StrEnum):
    """What an operation did."""

    START = "start"
    RETRY_STEP = "retry_step"
    RESTART = "restart"
    RERUN = "rerun"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    EXPIRE = "expire"
    REGISTER_TASK = "register_task"
    COMPLETE_STEP = "complete_step"
    FAIL_STEP = "fail_step"
    UPDATE_PAUSE_RULE = "update_pause_rule"
    DRAIN = "drain"
    CREATE_BREAKER = "create_breaker"
    UPDATE_BREAKER = "update_breaker"
    DELETE_BREAKER = "delete_breaker"
    BREAKER_OPENED = "breaker_opened"
    BREAKER_HALF_OPENED = "breaker_half_opened"
    BREAKER_CLOSED = "breaker_closed"
    CREATE_BATCH = "create_batch"
    UPDATE_BATCH = "update_batch"
    PAUSE_BATCH = "pause_batch"
    RESUME_BATCH = "resume_batch"
    CANCEL_BATCH = "cancel_batch"
    STOP_RELEASE = "stop_release"
    RESOLVE_IN_DOUBT = "resolve_in_doubt"
    RELEASE_END = "release_end"
    SET_RETENTION = "set_retention"
    UNSET_RETENTION = "unset_retention"
    PURGE = "purge"


class OperationStatus(StrEnum):
    """What became of an operation."""

    DONE = "done"
    PLANNED = "planned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an operation was refused; ``code`` is the name of a gRPC status code."""

    reason: str
    code: str
    message: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What stood before an operation."""

    run_number: int | None = None
    status: RunStatus | None = None
    error: str = ""
    completed_at: datetime | None = None
    step_status: StepStatus | None = None
    step_error: StepError | None = None
    fenced_steps: tuple[FencedStep, ...] = ()
    rate_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """What an operation made."""

    run_id: str = ""
    task_id: str = ""
    max_attempts: int = 0
    effective_rerun: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()
    definition_version: int = 0
    is_exempt: bool | None = None
    expires_at: datetime | None = None
    corrected_input_steps: tuple[str, ...] = ()
    resolution: StepResolution | None = None
    finding: str = ""
    keep_seconds: float = 0.0  # 0: for ever
    removed_executions: int = 0
    removed_runs: int = 0
    removed_operations: int = 0
    ended_before: datetime | None = None
    canary: int = 0
    rate_per_second: float = 0.0
    released_steps: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One mutation that committed; or that was only planned, or refused, as ``status`` says."""

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
    created_at: datetime
    replaced: Replaced
    made: Made
    principal: str = ""
    incident: str = ""
    batch_id: str = ""
    breaker_id: str = ""
    status: OperationStatus = OperationStatus.DONE
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ListOperations:
    """Which operations to list, newest first. Empty filters match all.

    Starts are listed where ``kinds`` names them, and where nothing but an execution is asked for.
    Items of batches are listed of a batch, of an execution, and with ``include_batch_items``.
    """

    execution_id: str = ""
    kinds: tuple[OperationKind, ...] = ()
    triggered_by: str = ""
    principal: str = ""
    incident: str = ""
    batch_id: str = ""
    rule_id: str = ""
    breaker_id: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    statuses: tuple[OperationStatus, ...] = (OperationStatus.DONE,)
    include_batch_items: bool = False
