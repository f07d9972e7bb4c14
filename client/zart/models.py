"""What the server answers, as frozen dataclasses: parsed JSON, aware times, spans of time.

The names and meanings are those of the protos (``zart protos DIR``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

Json: TypeAlias = Any
"""None, bool, int, float, str, list or dict, as ``json`` has them."""

T = TypeVar("T")


class _Status(enum.StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> _Status:  # noqa: ARG003 - enum asks for it
        """Take a value that a newer server sends for what it is: not known here."""
        return cls["UNSPECIFIED"]


class RunStatus(_Status):
    """The state of a run."""

    UNSPECIFIED = "UNSPECIFIED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens in the run by itself."""
        return self in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


class RunTrigger(_Status):
    """What created a run."""

    UNSPECIFIED = "UNSPECIFIED"
    INITIAL = "INITIAL"
    RESTART = "RESTART"
    SELECTIVE_RERUN = "SELECTIVE_RERUN"


class StepStatus(_Status):
    """The state of a step."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    PAUSED = "PAUSED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


class AttemptStatus(_Status):
    """How an attempt stands or ended."""

    UNSPECIFIED = "UNSPECIFIED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    LOST = "LOST"
    RELEASED = "RELEASED"
    ABANDONED = "ABANDONED"


class PauseRuleStatus(_Status):
    """The state of a pause rule."""

    UNSPECIFIED = "UNSPECIFIED"
    ACTIVE = "ACTIVE"
    RESUMED = "RESUMED"
    EXPIRED = "EXPIRED"


class ReportStatus(_Status):
    """What became of a reported outcome."""

    UNSPECIFIED = "UNSPECIFIED"
    RECORDED = "RECORDED"
    ALREADY_RECORDED = "ALREADY_RECORDED"
    LEASE_LOST = "LEASE_LOST"
    REJECTED = "REJECTED"


class OperationKind(_Status):
    """What an operation did."""

    UNSPECIFIED = "UNSPECIFIED"
    START = "START"
    RETRY_STEP = "RETRY_STEP"
    RESTART = "RESTART"
    RERUN = "RERUN"
    CANCEL = "CANCEL"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    EXPIRE = "EXPIRE"
    REGISTER_TASK = "REGISTER_TASK"


class IfRunning(enum.StrEnum):
    """What to do when the current run is unfinished."""

    SUPERSEDE = "SUPERSEDE"
    FAIL = "FAIL"


class IfExists(enum.StrEnum):
    """What to do when the execution id is taken."""

    FAIL = "FAIL"
    RETURN = "RETURN"


@dataclass(frozen=True, slots=True)
class StepError:
    """What went wrong in a step."""

    type: str
    message: str
    details: str


@dataclass(frozen=True, slots=True)
class DeadStep:
    """A dead step of an execution in a list; its error has no details."""

    step_name: str
    error: StepError | None


@dataclass(frozen=True, slots=True)
class Execution:
    """One durable job; its state is that of its newest run.

    ``dead_steps``, at most three, are filled in lists.
    """

    execution_id: str
    task_name: str
    current_run_id: str
    current_run_number: int
    status: RunStatus
    created_at: datetime | None
    waiting_on: str
    dead_steps: tuple[DeadStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the steps of an execution."""

    run_id: str
    execution_id: str
    run_number: int
    status: RunStatus
    trigger: RunTrigger
    triggered_by: str
    reason: str
    definition_version: int
    source_run_number: int | None
    payload: Json
    result: Json
    error: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step."""

    attempt: int
    status: AttemptStatus
    dispatcher_id: str
    error: StepError | None
    started_at: datetime | None
    completed_at: datetime | None
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run."""

    step_name: str
    status: StepStatus
    depends_on: tuple[str, ...]
    attempt: int
    max_attempts: int
    input: Json
    result: Json
    result_omitted: bool
    last_error: StepError | None
    retryable: bool
    task_id: str
    not_before: datetime | None
    lease_owner: str
    lease_expires_at: datetime | None
    paused_by: str
    waiting_on: str
    preserved_from_run_number: int | None
    scheduled_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    attempts: tuple[Attempt, ...]
    handler: str


@dataclass(frozen=True, slots=True)
class FencedStep:
    """A step that was in flight when its run was ended; its result will be refused."""

    step_name: str
    attempt: int
    dispatcher_id: str


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """An execution, one of its runs and the run's steps; of a watch: the steps that changed."""

    execution: Execution
    run: Run
    steps: tuple[Step, ...]

    def step(self, step_name: str) -> Step:
        """Return one step. Raises KeyError."""
        for step in self.steps:
            if step.step_name == step_name:
                return step
        raise KeyError(step_name)


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Withholds the steps that match every scope field it sets."""

    rule_id: str
    execution_id: str | None
    task_name: str | None
    step_pattern: str | None
    everything: bool
    reason: str
    status: PauseRuleStatus
    created_at: datetime | None
    created_by: str
    expires_at: datetime | None
    deleted_at: datetime | None
    deleted_by: str
    principal: str = ""
    deleted_by_principal: str = ""


@dataclass(frozen=True, slots=True)
class RetriedStep:
    """Answers retry_step; ``new_task_id`` is empty where a pause rule withholds the step."""

    new_task_id: str
    run_id: str
    step: Step
    replayed: bool


@dataclass(frozen=True, slots=True)
class Restarted:
    """Answers restart; ``fenced_steps`` were in flight in the run that was ended."""

    new_run_id: str
    new_run_number: int
    run: Run
    fenced_steps: tuple[FencedStep, ...]
    replayed: bool


@dataclass(frozen=True, slots=True)
class PotentiallyStale:
    """A preserved step downstream of steps that run again; ``omitted`` more than are named."""

    preserved_step: str
    possibly_depends_on: tuple[str, ...]
    omitted: int = 0


@dataclass(frozen=True, slots=True)
class Rerun:
    """Answers rerun; with validate_only it is a plan and ``new_run_id`` is empty."""

    new_run_id: str
    new_run_number: int
    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    potentially_stale: tuple[PotentiallyStale, ...]
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """Answers pause: the new rule, what it withholds now, and what is still in flight."""

    rule: PauseRule
    paused_steps: int
    paused_steps_is_lower_bound: bool
    running_steps: int
    replayed: bool

    @property
    def rule_id(self) -> str:
        """The rule's name, which resume takes."""
        return self.rule.rule_id


@dataclass(frozen=True, slots=True)
class Resumed:
    """Answers resume: the rules deleted and how many steps that lets go."""

    rules_deleted: int
    rules: tuple[PauseRule, ...]
    released_steps: int
    released_steps_is_lower_bound: bool
    still_paused_steps: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Answers cancel_execution."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed attempts of a step are repeated.

    ``max_attempts`` may count before the step is dead. The wait before the next attempt starts
    with ``initial_backoff`` and grows by ``backoff_multiplier`` up to ``max_backoff``, with
    jitter; both are seconds or a timedelta.
    """

    max_attempts: int = 3
    initial_backoff: float | timedelta = 1.0
    backoff_multiplier: float = 2.0
    max_backoff: float | timedelta = 60.0


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a graph; ``handler`` (default: the step's name) is the code that runs it."""

    step_name: str
    depends_on: tuple[str, ...] | list[str] = ()
    handler: str = ""
    input: Json = None
    retry: Retry = field(default_factory=Retry)
    timeout: float | timedelta = 600.0


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A kind of job: its name and its graph of steps."""

    task_name: str
    version: int
    steps: tuple[StepSpec, ...]
    last_asked_at: datetime | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeasedTask:
    """A queued task under lease."""

    task_id: str
    lease_token: int
    execution_id: str
    run_id: str
    run_number: int
    task_name: str
    step_name: str
    handler: str
    attempt: int
    max_attempts: int
    payload: Json
    input: Json
    upstream: Mapping[str, Json]
    upstream_omitted: tuple[str, ...]
    timeout: timedelta | None
    lease_expires_at: datetime | None
    lease_ttl: timedelta | None


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of one reported outcome; ``error`` says why it was REJECTED."""

    task_id: str
    status: ReportStatus
    error: str


@dataclass(frozen=True, slots=True)
class ExtendResult:
    """What became of one lease; not extended: it is lost."""

    task_id: str
    extended: bool
    lease_expires_at: datetime | None
    lease_ttl: timedelta | None


@dataclass(frozen=True, slots=True)
class OperationReplaced:
    """What stood before an operation."""

    run_number: int | None
    status: RunStatus
    error: str
    completed_at: datetime | None
    step_status: StepStatus
    step_error: StepError | None
    fenced_steps: tuple[FencedStep, ...]


@dataclass(frozen=True, slots=True)
class OperationMade:
    """What an operation made."""

    run_id: str
    task_id: str
    max_attempts: int
    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    definition_version: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One mutation that committed."""

    operation_id: str
    kind: OperationKind
    execution_id: str
    run_number: int | None
    step_name: str
    rule_id: str
    task_name: str
    triggered_by: str
    reason: str
    request_id: str
    created_at: datetime | None
    replaced: OperationReplaced | None
    made: OperationMade | None
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_page_token`` is empty on the last one."""

    items: tuple[T, ...]
    next_page_token: str
