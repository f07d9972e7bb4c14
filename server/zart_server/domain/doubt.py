"""What is in doubt: whether an attempt that was not reported has had its effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from zart_server.domain.dispatch import Completed, Ending, Failed, Released, TimedOut
from zart_server.domain.model import AttemptStatus, StepError

ERROR_TYPE = "InDoubt"
_RESULT_BYTES = 64 * 1024


class Finding(StrEnum):
    """What was found out about an attempt that was in doubt."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"


class Doubt(NamedTuple):
    """An attempt that keeps its step from being run again, unless the caller accepts that.

    ``ended_as`` RUNNING: it is in flight, and is about to be abandoned. ``finding`` None: it is in
    doubt; else it is HAPPENED, as was found at ``found_at``. ``run_number`` None: it is of the
    current run; else of that one before it, and was found after the current one had begun.
    """

    step_name: str
    attempt: int
    ended_as: AttemptStatus
    finding: Finding | None = None
    found_at: datetime | None = None
    run_number: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is in doubt now."""
        return self.finding is None and self.ended_as is not AttemptStatus.RUNNING


def error_of(why: str) -> StepError:
    """Return the error of a step that is dead since an attempt of it is in doubt."""
    return StepError(ERROR_TYPE, f"{why}: it may have had its effect")


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """What was reported of an attempt that was in doubt by then.

    ``omitted``: a result that was too large to be kept.
    """

    status: AttemptStatus
    result_json: str | None = None
    error: StepError | None = None
    received_at: datetime | None = None
    omitted: bool = False


def late_outcome_of(ending: Ending) -> LateOutcome:
    """Return what is kept of an outcome that comes too late."""
    if isinstance(ending, Completed):
        omitted = len(ending.result_json.encode()) > _RESULT_BYTES
        result = None if omitted else ending.result_json
        return LateOutcome(AttemptStatus.COMPLETED, result, omitted=omitted)
    if isinstance(ending, Failed):
        return LateOutcome(AttemptStatus.FAILED, error=ending.error)
    if isinstance(ending, TimedOut):
        return LateOutcome(AttemptStatus.TIMED_OUT)
    if isinstance(ending, Released) and ending.not_begun:
        return LateOutcome(AttemptStatus.RELEASED)
    return LateOutcome(AttemptStatus.LOST)


@dataclass(frozen=True, slots=True)
class InDoubtAttempt:
    """An attempt that is or was in doubt."""

    execution_id: str
    run_number: int
    step_name: str
    attempt: int
    task_name: str
    ended_as: AttemptStatus
    dispatcher_id: str
    started_at: datetime
    ended_at: datetime
    finding: Finding | None = None
    resolved_at: datetime | None = None
    resolved_by_operation_id: str = ""
    reason: str = ""
    late_outcome: LateOutcome | None = None


@dataclass(frozen=True, slots=True)
class ResolveInDoubt:
    """Say what was found out about an attempt in doubt."""

    execution_id: str
    run_number: int
    step_name: str
    attempt: int
    finding: Finding
