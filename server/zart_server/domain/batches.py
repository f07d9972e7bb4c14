"""Batches: one operation on many steps or executions, frozen when it was created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from zart_server.domain.batch_counts import Counts, Outcomes
from zart_server.domain.commands import Caller
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import IfRunning, RunStatus, StepStatus
from zart_server.domain.operations import OperationKind, Refusal
from zart_server.domain.plans import NO_PLAN, Planning

MOST_ITEMS = 1_000_000
MOST_CANARY = 10_000
EXACT_OUTCOMES = 10_000  # items
_SHOWN_IDS = 100


class BatchKind(StrEnum):
    """The operation that is done to each item."""

    RETRY_STEP = "retry_step"
    RESTART = "restart"
    RERUN = "rerun"
    CANCEL_EXECUTION = "cancel_execution"
    COMPLETE_STEP = "complete_step"
    FAIL_STEP = "fail_step"

    @property
    def is_of_steps(self) -> bool:
        """Whether its items are steps; else they are executions."""
        return self in (BatchKind.RETRY_STEP, BatchKind.COMPLETE_STEP, BatchKind.FAIL_STEP)

    @property
    def makes_runs(self) -> bool:
        """Whether it makes another run of each execution."""
        return self in (BatchKind.RESTART, BatchKind.RERUN)

    @property
    def is_to_fail(self) -> bool:
        """Whether a dead step is what is wanted: then it is no failure of the batch."""
        return self is BatchKind.FAIL_STEP

    @property
    def recorded_as(self) -> OperationKind:
        """The kind of the operation that each item is."""
        return _RECORDED[self]


_RECORDED = {
    BatchKind.RETRY_STEP: OperationKind.RETRY_STEP,
    BatchKind.RESTART: OperationKind.RESTART,
    BatchKind.RERUN: OperationKind.RERUN,
    BatchKind.CANCEL_EXECUTION: OperationKind.CANCEL,
    BatchKind.COMPLETE_STEP: OperationKind.COMPLETE_STEP,
    BatchKind.FAIL_STEP: OperationKind.FAIL_STEP,
}


class BatchStatus(StrEnum):
    """The state of a batch."""

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing will be done any more."""
        return self in (BatchStatus.COMPLETED, BatchStatus.CANCELLED)


class BatchPauseCause(StrEnum):
    """Why a batch is paused."""

    OPERATOR = "operator"
    CANARY = "canary"
    MAX_FAILURES = "max_failures"


class BatchItemStatus(StrEnum):
    """What became of an item."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """What is done to each item; each kind has the fields of its own."""

    kind: BatchKind
    max_attempts: int | None = None
    payload_json: str | None = None
    force_rerun: tuple[str, ...] = ()
    preserve: tuple[str, ...] = ()
    include_downstream: bool = False
    if_running: IfRunning = IfRunning.FAIL
    accept_in_doubt: bool = False
    input_json: str | None = None
    result_json: str = ""
    is_skip: bool = False
    message: str = ""
    fence: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it as it is stored: without what is as ever."""
        plain = BatchOperation(self.kind)
        return {
            name: value
            for name, value in asdict(self).items()
            if name == "kind" or value != getattr(plain, name)
        }

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> BatchOperation:
        """Return what was stored."""
        found = dict(values)
        for name in ("force_rerun", "preserve"):
            found[name] = tuple(found.get(name, ()))
        found["kind"] = BatchKind(found["kind"])
        found["if_running"] = IfRunning(found.get("if_running", IfRunning.FAIL))
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which executions are meant: those of ``execution_ids``, those that match, or all."""

    execution_ids: tuple[str, ...] = ()
    filter: ExecutionFilter | None = None

    @property
    def is_everything(self) -> bool:
        """Whether all are meant."""
        return not self.execution_ids and self.filter is None

    @property
    def shown(self) -> Selection:
        """The selection as it is told: with the first of the ids only."""
        return Selection(self.execution_ids[:_SHOWN_IDS], self.filter)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a batch goes, and when it pauses by itself. None: never, or as fast as it goes."""

    rate_per_second: float | None = None
    canary: int | None = None
    max_failures: int | None = None


class BatchStop(NamedTuple):
    """Who paused or cancelled a batch, when and why."""

    at: datetime
    by: str
    principal: str
    reason: str
    incident: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as callers see it. ``outcomes`` None: nobody asked; ``stop`` None: none is known."""

    batch_id: str
    status: BatchStatus
    pause_cause: BatchPauseCause | None
    operation: BatchOperation
    selection: Selection
    as_of: datetime
    counts: Counts
    pace: Pace
    created_by: str
    principal: str
    reason: str
    incident: str
    error: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    expected_end_at: datetime | None
    stop: BatchStop | None
    outcomes: Outcomes | None = None

    @property
    def caller(self) -> Caller:
        """Whose the operations of its items are."""
        return Caller(
            self.created_by, self.reason, "", self.principal, self.incident, self.batch_id
        )


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One step or execution of a batch, and what became of it and of what it made."""

    execution_id: str
    run_number: int
    step_name: str
    status: BatchItemStatus
    operation_id: str
    refusal: Refusal | None
    done_at: datetime | None
    step_status: StepStatus | None
    run_status: RunStatus | None


@dataclass(frozen=True, slots=True)
class PlanKind:
    """Items of a plan that would come to the same. ``refused_for`` empty: they would be done."""

    refused_for: str
    items: int
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch would do, as of a moment."""

    executions: int
    items: int
    as_of: datetime
    kinds: tuple[PlanKind, ...]
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateBatch:
    """Asks for a new batch. ``traceparent``: the trace that its caller told, if any."""

    operation: BatchOperation
    selection: Selection
    pace: Pace
    planning: Planning = NO_PLAN
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """The new batch; or, with a ``plan_token``, what it would do."""

    batch: Batch | None
    plan: BatchPlan | None = None
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class OneBatch:
    """Asks for a batch to be paused, resumed or cancelled, as the operation says.

    ``may_cancel_executions``: whether its caller may have executions cancelled.
    """

    batch_id: str
    may_cancel_executions: bool = True


@dataclass(frozen=True, slots=True)
class UpdateBatch:
    """Asks for another pace: what is None stays; ``unpaced`` and ``any_failures`` take it away."""

    batch_id: str
    rate_per_second: float | None
    max_failures: int | None
    unpaced: bool
    any_failures: bool
    may_cancel_executions: bool = True  # as in OneBatch
