"""For how long finished executions are kept, and the answers of what sets that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from zart.models.statuses import RunStatus


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


@dataclass(frozen=True, slots=True)
class PurgedTask:
    """How many executions of a task are removed, and how many stay though they ended before."""

    task_name: str
    removed_executions: int
    kept_executions: int


@dataclass(frozen=True, slots=True)
class Purged:
    """Answers purge_executions: what was removed, or of a plan what would be.

    ``is_partial``: there may be more; ask again with ``next_page_token``. Of a plan: not all of it
    was counted.
    """

    tasks: tuple[PurgedTask, ...]
    is_partial: bool
    ended_before: datetime | None
    replayed: bool
    planned: bool = False
    plan_token: str = ""
    next_page_token: str = ""

    @property
    def removed_executions(self) -> int:
        """How many executions that are, of all tasks."""
        return sum(task.removed_executions for task in self.tasks)

    @property
    def kept_executions(self) -> int:
        """How many stay, of all tasks."""
        return sum(task.kept_executions for task in self.tasks)


@dataclass(frozen=True, slots=True)
class StatusStats:
    """How many executions have a status, or at least so many; and when the oldest was started."""

    status: RunStatus
    executions: int
    is_lower_bound: bool
    oldest_created_at: datetime | None


@dataclass(frozen=True, slots=True)
class TableStats:
    """A table as PostgreSQL estimates it; ``rows`` -1: it was never looked at."""

    table_name: str
    rows: int
    dead_rows: int
    bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is: executions by status, and the tables, the largest first."""

    statuses: tuple[StatusStats, ...]
    tables: tuple[TableStats, ...]
    database_bytes: int
    oldest_operation_at: datetime | None
