"""What the server answers, as frozen dataclasses: parsed JSON, aware times, spans of time.

The names and meanings are those of the protos (``zart protos DIR``).
"""

from __future__ import annotations

from zart.models.breakers import Breaker, ChangedBreaker, DeletedBreaker
from zart.models.causes import Cause, ExplainedStep, Explanation
from zart.models.changes import (
    Cancelled,
    EndedStep,
    PotentiallyStale,
    Rerun,
    Restarted,
    RetriedStep,
)
from zart.models.compared import ComparedRuns, ComparedStep, RunSide
from zart.models.definitions import Retry, StepSpec, TaskDefinition
from zart.models.doubts import InDoubtAttempt, LateOutcome, ResolvedInDoubt
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
from zart.models.operations import (
    Operation,
    OperationMade,
    OperationReplaced,
    Refusal,
    RuleHold,
    RuleHolds,
)
from zart.models.page import Page
from zart.models.pauses import (
    Paused,
    PauseRule,
    PauseRuleRelease,
    ReleaseOnExpiry,
    Resumed,
    RuleAttempt,
    UpdatedPauseRule,
    WatchedPauseRule,
)
from zart.models.request_warnings import RequestWarning
from zart.models.statuses import (
    AttemptStatus,
    BreakerStatus,
    CauseKind,
    IfExists,
    IfInDoubt,
    IfRunning,
    InDoubtFinding,
    OperationKind,
    OperationStatus,
    PauseRuleStatus,
    ReportStatus,
    RunStatus,
    RunTrigger,
    StepResolution,
    StepStatus,
    WarningKind,
    WatchUntil,
)

__all__ = [
    "Attempt",
    "AttemptStatus",
    "Breaker",
    "BreakerStatus",
    "Cancelled",
    "Cause",
    "CauseKind",
    "ChangedBreaker",
    "ComparedRuns",
    "ComparedStep",
    "DeadStep",
    "DeletedBreaker",
    "EndedStep",
    "Execution",
    "ExecutionState",
    "ExplainedStep",
    "Explanation",
    "ExtendResult",
    "FencedStep",
    "IfExists",
    "IfInDoubt",
    "IfRunning",
    "InDoubtAttempt",
    "InDoubtFinding",
    "Json",
    "LateOutcome",
    "LeasedTask",
    "Operation",
    "OperationKind",
    "OperationMade",
    "OperationReplaced",
    "OperationStatus",
    "Page",
    "PauseRule",
    "PauseRuleRelease",
    "PauseRuleStatus",
    "Paused",
    "PotentiallyStale",
    "Refusal",
    "ReleaseOnExpiry",
    "ReportResult",
    "ReportStatus",
    "RequestWarning",
    "Rerun",
    "ResolvedInDoubt",
    "Restarted",
    "Resumed",
    "RetriedStep",
    "Retry",
    "RuleAttempt",
    "RuleHold",
    "RuleHolds",
    "Run",
    "RunSide",
    "RunStatus",
    "RunTrigger",
    "Step",
    "StepError",
    "StepResolution",
    "StepSpec",
    "StepStatus",
    "TaskDefinition",
    "UpdatedPauseRule",
    "WarningKind",
    "WatchUntil",
    "WatchedPauseRule",
]
