"""What is stored, in the tables' words: lower-case statuses, aware times, ``*_json`` exact JSON.

Nobody changes any; what is made by the thousand is not frozen: that would cost three times as much.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.pacing import PauseRuleRelease
from zart_server.domain.rule_counts import RuleCounts
from zart_server.domain.step_resolution import StepResolution

MOST_ATTEMPTS = 1_000_000  # of a step, by its policy or by one retry


class RunStatus(StrEnum):
    """The state of one run; an execution has that of its current run."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """True if only an admin operation leads out of this status."""
        return self not in (RunStatus.SCHEDULED, RunStatus.RUNNING)


class RunTrigger(StrEnum):
    """What created a run."""

    INITIAL = "initial"
    RESTART = "restart"
    SELECTIVE_RERUN = "selective_rerun"


class StepStatus(StrEnum):
    """The state of one step."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    RUNNING = "running"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"


class AttemptStatus(StrEnum):
    """How one attempt of a step stands or ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    RELEASED = "released"
    ABANDONED = "abandoned"


class PauseRuleStatus(StrEnum):
    """The state of a pause rule."""

    ACTIVE = "active"
    RESUMED = "resumed"
    EXPIRED = "expired"
    RELEASING = "releasing"


class WatchUntil(StrEnum):
    """How long a pause rule is watched."""

    DRAINED = "drained"
    ENDED = "ended"


class ReportStatus(StrEnum):
    """What became of one reported outcome."""

    RECORDED = "recorded"
    ALREADY_RECORDED = "already_recorded"
    LEASE_LOST = "lease_lost"
    REJECTED = "rejected"


class IfRunning(StrEnum):
    """What Restart and Rerun do when the current run is unfinished."""

    SUPERSEDE = "supersede"
    FAIL = "fail"


class IfExists(StrEnum):
    """What StartExecution does when the execution id is taken."""

    FAIL = "fail"
    RETURN = "return"


def run_id_of(execution_id: str, run_number: int) -> str:
    """Name a run: ``<execution_id>:run:<run_number>``."""
    return f"{execution_id}:run:{run_number}"


@dataclass(frozen=True, slots=True)
class StepError:
    """What went wrong in a step, as its dispatcher told it."""

    type: str = ""
    message: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed attempts of a step are repeated."""

    max_attempts: int = 3
    initial_backoff: timedelta = timedelta(seconds=1)
    backoff_multiplier: float = 2.0
    max_backoff: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a task definition or of an inline graph."""

    step_name: str
    depends_on: tuple[str, ...] = ()
    handler: str = ""
    input_json: str | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    timeout: timedelta = timedelta(minutes=10)
    if_in_doubt: IfInDoubt = IfInDoubt.RETRY


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A registered graph. ``version`` counts the contents registered under one name, from 1."""

    task_name: str
    version: int
    steps: tuple[StepSpec, ...]
    last_asked_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadStep:
    """A dead step of an execution in a list; its error has no details."""

    step_name: str
    error: StepError | None


@dataclass(slots=True)
class Execution:
    """One durable job."""

    execution_id: str
    task_name: str
    current_run_number: int
    status: RunStatus
    created_at: datetime
    waiting_on: str = ""
    dead_steps: tuple[DeadStep, ...] = ()

    @property
    def current_run_id(self) -> str:
        """The id of the newest run."""
        return run_id_of(self.execution_id, self.current_run_number)


@dataclass(slots=True)
class Run:
    """One pass over the steps of an execution."""

    execution_id: str
    run_number: int
    status: RunStatus
    trigger: RunTrigger
    triggered_by: str
    reason: str
    definition_version: int
    source_run_number: int | None
    error: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    principal: str = ""
    payload_json: str | None = None
    result_json: str | None = None
    traceparent: str | None = None

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return run_id_of(self.execution_id, self.run_number)


@dataclass(slots=True)
class Attempt:
    """One try of a step."""

    attempt: int
    status: AttemptStatus
    dispatcher_id: str
    error: StepError | None
    started_at: datetime
    completed_at: datetime | None
    principal: str = ""
    in_doubt: bool = False
    reason: str = ""


@dataclass(slots=True)
class Step:
    """One step of a run, as a caller sees it."""

    step_name: str
    status: StepStatus
    depends_on: tuple[str, ...]
    handler: str
    attempt: int
    max_attempts: int
    input_json: str | None = None
    result_json: str | None = None
    result_omitted: bool = False
    last_error: StepError | None = None
    retryable: bool = False
    task_id: str = ""
    not_before: datetime | None = None
    lease_owner: str = ""
    lease_expires_at: datetime | None = None
    paused_by: str = ""
    waiting_on: str = ""
    preserved_from_run_number: int | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    in_doubt: bool = False
    input_corrections: int = 0
    input_omitted: bool = False
    errors_omitted: bool = False
    resolution: StepResolution | None = None


@dataclass(frozen=True, slots=True)
class FencedStep:
    """A step that was in flight when its run was ended, or when an operator ended the step."""

    step_name: str
    attempt: int
    dispatcher_id: str


@dataclass(frozen=True, slots=True)
class PauseScope:
    """What a pause rule matches: a step matches when each field that is set does."""

    execution_id: str | None = None
    task_name: str | None = None
    step_pattern: str | None = None
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """True if no scope field is set."""
        return self.execution_id is None and self.task_name is None and self.step_pattern is None


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Withholds matching steps until it is resumed or expires."""

    rule_id: str
    scope: PauseScope
    reason: str
    status: PauseRuleStatus
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    deleted_at: datetime | None
    deleted_by: str
    principal: str = ""
    deleted_by_principal: str = ""
    incident: str = ""
    exempt_execution_ids: tuple[str, ...] = ()
    drained_at: datetime | None = None
    counts: RuleCounts = field(default_factory=RuleCounts)
    breaker_id: str = ""
    release: PauseRuleRelease | None = None
    expiry_rate: float | None = None
