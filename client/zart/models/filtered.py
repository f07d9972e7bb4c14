"""Answers about what a filter matches: counts, and groups of errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.statuses import RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many executions have a status."""

    status: RunStatus
    executions: int


@dataclass(frozen=True, slots=True)
class StepStatusCount:
    """How many executions have a step in a state."""

    status: StepStatus
    executions: int


@dataclass(frozen=True, slots=True)
class ExecutionCounts:
    """Answers count_executions; a lower bound where counting would have taken too long."""

    total: int
    total_is_lower_bound: bool
    by_status: tuple[StatusCount, ...]
    by_step_status: tuple[StepStatusCount, ...]
    by_step_status_is_lower_bound: bool


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one kind that steps of current runs are DEAD of.

    ``template`` is their message with placeholders, ``sample_execution_ids`` up to five executions,
    the newest first. Where ``dead_steps_is_lower_bound``, there may be more, or some where it is 0.
    """

    error_group_id: str
    task_name: str
    step_name: str
    type: str
    template: str
    dead_steps: int
    dead_steps_is_lower_bound: bool
    first_seen: datetime | None
    last_seen: datetime | None
    sample_execution_ids: tuple[str, ...]
