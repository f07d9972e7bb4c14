"""What the server answers, as frozen dataclasses: parsed JSON, aware times, spans of time.

The names and meanings are those of the protos (``zart protos DIR``).
"""

from __future__ import annotations

from zart.models.causes import Cause, ExplainedStep, Explanation
from zart.models.changes import Cancelled, PotentiallyStale, Rerun, Restarted, RetriedStep
from zart.models.definitions import Retry, StepSpec, TaskDefinition
from zart.models.executions import (
    Attempt,
    DeadStep,
    Execution,
    ExecutionState,
    FencedStep,
    Run,
    Step,
    StepError,
)
from zart.models.json_value import Json
from zart.models.leases import ExtendResult, LeasedTask, ReportResult
from zart.models.operations import Operation, OperationMade, OperationReplaced
from zart.models.page import Page
from zart.models.pauses import Paused, PauseRule, Resumed
from zart.models.statuses import (
    AttemptStatus,
    CauseKind,
    IfExists,
    IfRunning,
    OperationKind,
    PauseRuleStatus,
    ReportStatus,
    RunStatus,
    RunTrigger,
    StepStatus,
)

__all__ = [
    "Attempt",
    "AttemptStatus",
    "Cancelled",
    "Cause",
    "CauseKind",
    "DeadStep",
    "Execution",
    "ExecutionState",
    "ExplainedStep",
    "Explanation",
    "ExtendResult",
    "FencedStep",
    "IfExists",
    "IfRunning",
    "Json",
    "LeasedTask",
    "Operation",
    "OperationKind",
    "OperationMade",
    "OperationReplaced",
    "Page",
    "PauseRule",
    "PauseRuleStatus",
    "Paused",
    "PotentiallyStale",
    "ReportResult",
    "ReportStatus",
    "Rerun",
    "Restarted",
    "Resumed",
    "RetriedStep",
    "Retry",
    "Run",
    "RunStatus",
    "RunTrigger",
    "Step",
    "StepError",
    "StepSpec",
    "StepStatus",
    "TaskDefinition",
]
