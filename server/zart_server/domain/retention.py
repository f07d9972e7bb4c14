"""For how long finished executions, and operations, are kept; and what is asked of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from zart_server.domain.commands import Caller
from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import NO_PLAN, Planning

# By whom what is removed by itself is on record.
BY_ITSELF = Caller("retention", "it was kept for as long as is set")
# The RPC whose request, with its response, goes with the execution that such an operation was on.
# Requests of several executions, as those of batches, go when they are seven days old.
RPC_OF: Mapping[OperationKind, str] = {
    OperationKind.START: "StartExecution",
    OperationKind.RETRY_STEP: "RetryStep",
    OperationKind.COMPLETE_STEP: "CompleteStep",
    OperationKind.FAIL_STEP: "FailStep",
    OperationKind.RESTART: "Restart",
    OperationKind.RERUN: "Rerun",
    OperationKind.CANCEL: "CancelExecution",
    OperationKind.RESOLVE_IN_DOUBT: "ResolveInDoubt",
}


class Kept(NamedTuple):
    """What servers are set to. None: for ever."""

    executions: timedelta | None = None
    operations: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TaskRetention:
    """For how long finished executions of a task are kept; ``keep`` None: for ever."""

    task_name: str
    keep: timedelta | None
    set_at: datetime
    triggered_by: str
    principal: str
    reason: str
    incident: str


@dataclass(frozen=True, slots=True)
class Unset:
    """What was set of a task before nothing was, if anything."""

    was: TaskRetention | None


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, for the record."""

    executions: int = 0
    runs: int = 0
    operations: int = 0


@dataclass(frozen=True, slots=True)
class SetRetention:
    """Set for how long finished executions of a task are kept; ``keep`` None: for ever."""

    task_name: str
    keep: timedelta | None


@dataclass(frozen=True, slots=True)
class PurgeExecutions:
    """Remove executions that ended longer ago than that. ``task_name`` None: of any task."""

    older_than: timedelta
    task_name: str | None
    planning: Planning = NO_PLAN
    cursor: EndedCursor = FROM_THE_OLDEST


class PurgedTask(NamedTuple):
    """How many executions of a task go, and how many stay though they ended long enough ago."""

    task_name: str
    removed: int
    kept: int


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed, or would be. ``is_partial``: there may be more.

    ``cursor``: where that begins, if something was to be removed by ``command``.
    """

    command: PurgeExecutions
    tasks: tuple[PurgedTask, ...]
    is_partial: bool
    ended_before: datetime
    plan_token: str = ""
    cursor: EndedCursor | None = None
