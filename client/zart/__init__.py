"""zart: start, dispatch and operate durable executions.

Names are loaded when they are first used, so that ``import zart`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zart import errors, models, testing
    from zart.calls.dispatch import Completed, Failed, Lease, Lost, Outcome, Released, TimedOut
    from zart.calls.execution import Start
    from zart.calls.filters import ExecutionFilter
    from zart.calls.payload import JsonText
    from zart.client import Client, connect
    from zart.credentials import Credentials
    from zart.dispatcher.service import Dispatcher
    from zart.errors import Refused, RunFailed, StepSkipped, Unreachable, ZartError
    from zart.handles import Handle
    from zart.models import (
        AttemptStatus,
        CauseKind,
        IfExists,
        IfInDoubt,
        IfRunning,
        InDoubtFinding,
        OperationKind,
        OperationStatus,
        PauseRuleStatus,
        ReportStatus,
        Retry,
        RunStatus,
        RunTrigger,
        StepResolution,
        StepSpec,
        StepStatus,
        WatchUntil,
    )
    from zart.models.batch_operations import (
        CancelExecution,
        CompleteStep,
        FailStep,
        Rerun,
        Restart,
        RetryStep,
    )
    from zart.receipts import PauseReceipt
    from zart.step_context import Step, StepContext
    from zart.sync_client import SyncClient, connect_sync
    from zart.sync_handles import SyncHandle
    from zart.tasks import StepFailed, Task

_HOME = {
    "calls.dispatch": ("Completed", "Failed", "Lease", "Lost", "Outcome", "Released", "TimedOut"),
    "calls.execution": ("Start",),
    "calls.filters": ("ExecutionFilter",),
    "calls.payload": ("JsonText",),
    "client": ("Client", "connect"),
    "credentials": ("Credentials",),
    "dispatcher.service": ("Dispatcher",),
    "errors": ("Refused", "RunFailed", "StepSkipped", "Unreachable", "ZartError"),
    "handles": ("Handle",),
    "models": (
        "AttemptStatus",
        "CauseKind",
        "IfExists",
        "IfInDoubt",
        "IfRunning",
        "InDoubtFinding",
        "OperationKind",
        "OperationStatus",
        "OperationStatus",
        "PauseRuleStatus",
        "ReportStatus",
        "Retry",
        "RunStatus",
        "RunTrigger",
        "StepResolution",
        "StepSpec",
        "StepStatus",
        "WatchUntil",
    ),
    "models.batch_operations": (
        "CancelExecution",
        "CompleteStep",
        "FailStep",
        "Rerun",
        "Restart",
        "RetryStep",
    ),
    "receipts": ("PauseReceipt",),
    "step_context": ("Step", "StepContext"),
    "sync_client": ("SyncClient", "connect_sync"),
    "sync_handles": ("SyncHandle",),
    "tasks": ("StepFailed", "Task"),
}
_MODULES = ("errors", "models", "testing")
_MODULE_OF = {name: f"zart.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "AttemptStatus",
    "CancelExecution",
    "CauseKind",
    "Client",
    "CompleteStep",
    "Completed",
    "Credentials",
    "Dispatcher",
    "ExecutionFilter",
    "FailStep",
    "Failed",
    "Handle",
    "IfExists",
    "IfInDoubt",
    "IfRunning",
    "InDoubtFinding",
    "JsonText",
    "Lease",
    "Lost",
    "OperationKind",
    "OperationStatus",
    "Outcome",
    "PauseReceipt",
    "PauseRuleStatus",
    "Refused",
    "Released",
    "ReportStatus",
    "Rerun",
    "Restart",
    "Retry",
    "RetryStep",
    "RunFailed",
    "RunStatus",
    "RunTrigger",
    "Start",
    "Step",
    "StepContext",
    "StepFailed",
    "StepResolution",
    "StepSkipped",
    "StepSpec",
    "StepStatus",
    "SyncClient",
    "SyncHandle",
    "Task",
    "TimedOut",
    "Unreachable",
    "WatchUntil",
    "ZartError",
    "connect",
    "connect_sync",
    "errors",
    "models",
    "testing",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name in _MODULES:
        return importlib.import_module(f"zart.{name}")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'zart' has no attribute {name!r}")
    found = getattr(importlib.import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
