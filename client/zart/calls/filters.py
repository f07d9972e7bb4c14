"""The one filter by which executions are listed, counted, grouped and selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from zart.calls.call import moment
from zart.calls.choices import numbers_of
from zart.models import RunStatus, StepStatus
from zart.v1 import execution_pb2, filter_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFilter:
    """Conditions on executions, all of which have to hold; what is empty or None is none.

    Statuses are given by name. All conditions on steps hold of one and the same step of the current
    run: ``step_pattern`` and those on errors of a DEAD one, ``rule_id`` of one that this pause rule
    withholds. ``triggered_by`` needs ``created_after`` within 7 days.
    """

    task_name: str = ""
    statuses: Sequence[RunStatus | str] = ()
    step_statuses: Sequence[StepStatus | str] = ()
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

    def to_message(self) -> filter_pb2.ExecutionFilter:
        """Encode it. Raises ValueError for a status that is none, and a time without a zone."""
        return filter_pb2.ExecutionFilter(
            task_name=self.task_name,
            statuses=run_statuses(self.statuses),
            step_statuses=step_statuses(self.step_statuses),
            step_pattern=self.step_pattern,
            error_group_id=self.error_group_id,
            error_contains=self.error_contains,
            dead_after=moment(self.dead_after, "dead_after"),
            dead_before=moment(self.dead_before, "dead_before"),
            created_after=moment(self.created_after, "created_after"),
            created_before=moment(self.created_before, "created_before"),
            execution_id_prefix=self.execution_id_prefix,
            triggered_by=self.triggered_by,
            batch_id=self.batch_id,
            rule_id=self.rule_id,
        )


def run_statuses(names: Sequence[RunStatus | str]) -> list[execution_pb2.RunStatus.ValueType]:
    """Encode statuses of runs by their names. Raises ValueError."""
    return numbers_of(execution_pb2.RunStatus, names, "statuses")


def step_statuses(names: Sequence[StepStatus | str]) -> list[execution_pb2.StepStatus.ValueType]:
    """Encode statuses of steps by their names. Raises ValueError."""
    return numbers_of(execution_pb2.StepStatus, names, "step_statuses")
