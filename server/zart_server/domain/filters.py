"""The one filter by which executions are listed, counted, grouped and chosen for a batch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from zart_server.domain.model import RunStatus, StepStatus

_DAYS = 7  # within which it is told who started an execution
# What was good stays so for a while: the pages of a list, a batch of what was listed.
_SLACK = timedelta(hours=23)
NEEDS_SINCE = f"is needed beside triggered_by, within the last {_DAYS} days"
_TIMES = ("dead_after", "dead_before", "created_after", "created_before")


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Conditions on executions; what is empty or None is none. Steps are those of current runs.

    All conditions on steps hold of one and the same step. ``step_pattern`` and those on errors are
    of DEAD steps, ``rule_id`` of a step that this rule withholds.
    """

    task_name: str = ""
    statuses: tuple[RunStatus, ...] = ()
    step_statuses: tuple[StepStatus, ...] = ()
    step_pattern: str = ""
    error_group_id: str = ""
    error_contains: str = ""
    dead_after: datetime | None = None
    dead_before: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    execution_id_prefix: str = ""
    triggered_by: str = ""
    batch_id: str = ""
    rule_id: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it has no condition at all."""
        return self == ExecutionFilter()

    @property
    def has_other_conditions(self) -> bool:
        """Whether it asks of an execution what no index has in the order of lists."""
        return bool(self.execution_id_prefix or self.triggered_by or self.batch_id)

    @property
    def has_error_conditions(self) -> bool:
        """Whether it asks how or when a step died."""
        times = self.dead_after, self.dead_before
        return bool(self.error_group_id or self.error_contains) or times != (None, None)

    @property
    def has_step_conditions(self) -> bool:
        """Whether it asks anything of a step."""
        return self.has_error_conditions or bool(
            self.step_statuses or self.step_pattern or self.rule_id
        )

    @property
    def states(self) -> frozenset[StepStatus]:
        """The states of which the step is to be in one; none: there is no condition on steps."""
        if self.step_statuses:
            return frozenset(self.step_statuses)
        if self.rule_id:
            return frozenset((StepStatus.PAUSED,))
        return frozenset((StepStatus.DEAD,) if self.has_step_conditions else ())

    def needs_since(self, now: datetime | None = None) -> bool:
        """Whether it is too broad, as ``created_after`` is missing; or too long ago at ``now``."""
        if not self.triggered_by or self.created_after is None:
            return bool(self.triggered_by)
        return now is not None and self.created_after < now - timedelta(days=_DAYS) - _SLACK

    def to_json(self) -> str:
        """Return it as JSON: what is no condition is left out."""
        default = ExecutionFilter()
        found = {
            field.name: value.isoformat() if isinstance(value, datetime) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        }
        return json.dumps(found, ensure_ascii=False)

    @classmethod
    def of_json(cls, text: str) -> ExecutionFilter:
        """Read what ``to_json`` wrote."""
        found: Mapping[str, Any] = json.loads(text)
        values = dict(found)
        for name in _TIMES:
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        if "statuses" in values:
            values["statuses"] = tuple(map(RunStatus, values["statuses"]))
        if "step_statuses" in values:
            values["step_statuses"] = tuple(map(StepStatus, values["step_statuses"]))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one kind that steps of current runs are DEAD of, newest executions first."""

    error_group_id: str
    task_name: str
    step_name: str
    type: str
    template: str
    dead_steps: int
    dead_steps_is_lower_bound: bool
    first_seen: datetime
    last_seen: datetime
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExecutionCounts:
    """How many executions a filter matches, by the status of runs and by the states of steps."""

    total: int
    total_is_lower_bound: bool
    by_status: Mapping[RunStatus, int]
    by_step_status: Mapping[StepStatus, int]
    by_step_status_is_lower_bound: bool


@dataclass(frozen=True, slots=True)
class ListExecutions:
    """Which executions to list, newest first. Empty filters match all."""

    task_name: str
    statuses: tuple[RunStatus, ...]
    step_statuses: tuple[StepStatus, ...]
    created_after: datetime | None
    created_before: datetime | None
