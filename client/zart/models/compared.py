"""Two runs of an execution side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from zart.models.executions import Run, StepError
from zart.models.statuses import StepStatus


@dataclass(frozen=True, slots=True)
class RunSide:
    """What became of a step in one run. ``duration`` is of the last attempt, once it has ended."""

    status: StepStatus
    attempts: int
    duration: timedelta | None
    error: StepError | None


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """One step in both runs; None: that run has no such step.

    ``result_equal`` None: not both are COMPLETED, or there is too much to compare. ``preserved``:
    the compared run kept the result of an earlier one.
    """

    step_name: str
    base: RunSide | None
    compared: RunSide | None
    result_equal: bool | None
    preserved: bool


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Answers compare_runs; the runs are without payloads and results."""

    base: Run
    compared: Run
    payload_equal: bool
    steps: tuple[ComparedStep, ...]
