"""Attempts that may have had their effect, though they were not reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.executions import StepError
from zart.models.json_value import Json
from zart.models.statuses import AttemptStatus, InDoubtFinding


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """What its dispatcher reported of an attempt in doubt: the best evidence there is.

    RELEASED: it says that nothing had begun. ``result_omitted``: it was too large to be kept.
    """

    status: AttemptStatus
    result: Json
    error: StepError | None
    received_at: datetime | None
    result_omitted: bool = False


@dataclass(frozen=True, slots=True)
class InDoubtAttempt:
    """An attempt that is or was in doubt. ``resolved_at`` None: it is."""

    execution_id: str
    run_number: int
    step_name: str
    attempt: int
    ended_as: AttemptStatus
    dispatcher_id: str
    started_at: datetime | None
    ended_at: datetime | None
    finding: InDoubtFinding
    resolved_at: datetime | None
    resolved_by_operation_id: str
    late_outcome: LateOutcome | None
    reason: str
    task_name: str


@dataclass(frozen=True, slots=True)
class ResolvedInDoubt:
    """Answers resolve_in_doubt: the attempt as it is now, without a late result."""

    item: InDoubtAttempt
    replayed: bool
