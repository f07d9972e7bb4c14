"""For how long finished executions are kept, and the answers of what sets that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class TaskRetention:
    """For how long finished executions of a task are kept. ``keep_for`` None: for ever."""

    task_name: str
    keep_for: timedelta | None
    set_at: datetime | None
    triggered_by: str
    principal: str
    reason: str
    incident: str


@dataclass(frozen=True, slots=True)
class RetentionSet:
    """Answers set_retention: what is set now."""

    retention: TaskRetention
    replayed: bool


@dataclass(frozen=True, slots=True)
class RetentionUnset:
    """Answers unset_retention: what was set until now, if anything."""

    was: TaskRetention | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class ServerRetention:
    """What a server is set to, of executions of tasks for which nothing is set, and of operations.

    None: they are kept for ever.
    """

    keep_for: timedelta | None
    keep_operations_for: timedelta | None
