"""Two runs of an execution side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from zart_server.domain.model import Run, Step, StepError, StepStatus

# Characters: ten thousand steps with an error on each side must fit into an answer of 16 MiB.
TYPE, MESSAGE = 50, 200


@dataclass(frozen=True, slots=True)
class RunSide:
    """What became of a step in one run; the error is cut."""

    status: StepStatus
    attempts: int
    duration: timedelta | None
    error: StepError | None


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """One step in both runs; None: the run has no such step."""

    step_name: str
    base: RunSide | None
    compared: RunSide | None
    result_equal: bool | None
    preserved: bool


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Two runs, without payloads and results, and their steps."""

    base: Run
    compared: Run
    payload_equal: bool
    steps: tuple[ComparedStep, ...]


def side_of(step: Step) -> RunSide:
    """Return what is compared of a step."""
    ended, begun, error = step.completed_at, step.started_at, step.last_error
    return RunSide(
        step.status,
        step.attempt,
        None if ended is None or begun is None else max(ended - begun, timedelta()),
        None if error is None else StepError(error.type[:TYPE], error.message[:MESSAGE]),
    )
