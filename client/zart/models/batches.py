"""Batches: one operation on many steps or executions, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zart.models.batch_operations import BatchOperation
from zart.models.operations import Refusal
from zart.models.statuses import (
    BatchItemStatus,
    BatchPauseCause,
    BatchStatus,
    RunStatus,
    StepStatus,
)


@dataclass(frozen=True, slots=True)
class ExecutionSelection:
    """Which executions are meant: all, those of ``execution_ids``, or those that match a filter.

    ``filter`` has the fields that are set, as JSON has them; None: it is none.
    """

    execution_ids: tuple[str, ...]
    everything: bool
    filter: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """How many items there are of each status, exactly."""

    selected: int
    done: int
    refused: int
    pending: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class BatchOutcomes:
    """What became of what the items that are done have made."""

    completed: int
    dead: int
    running: int
    paused: int
    scheduled: int
    pending: int
    cancelled: int
    superseded: int


@dataclass(frozen=True, slots=True)
class BatchStop:
    """What somebody did by which a batch is PAUSED, or CANCELLED."""

    stopped_at: datetime | None
    stopped_by: str
    principal: str
    reason: str
    incident: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One operation on many steps or executions. ``outcomes`` None: they were not asked for.

    ``stop`` None: nobody has it stand still, or who did is no longer on record.
    """

    batch_id: str
    status: BatchStatus
    pause_cause: BatchPauseCause
    operation: BatchOperation | None
    selection: ExecutionSelection | None
    as_of: datetime | None
    counts: BatchCounts
    outcomes: BatchOutcomes | None
    rate_per_second: float | None
    canary: int | None
    max_failures: int | None
    created_by: str
    principal: str
    reason: str
    incident: str
    error: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    expected_end_at: datetime | None
    stop: BatchStop | None = None


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
    step_status: StepStatus
    run_status: RunStatus


@dataclass(frozen=True, slots=True)
class BatchPlanKind:
    """Items that would come to the same. ``refused_for`` empty: they would be done."""

    refused_for: str
    items: int
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch would do."""

    executions: int
    items: int
    as_of: datetime | None
    kinds: tuple[BatchPlanKind, ...]
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """Answers create_batch: the batch, or, where it was only planned, what it would do."""

    batch: Batch | None
    plan: BatchPlan | None
    plan_token: str
    planned: bool
    replayed: bool

    @property
    def batch_id(self) -> str:
        """The batch's name; empty in a plan."""
        return "" if self.batch is None else self.batch.batch_id


@dataclass(frozen=True, slots=True)
class ChangedBatch:
    """Answers what is done to a batch: the batch as it is now."""

    batch: Batch
    replayed: bool

    @property
    def batch_id(self) -> str:
        """The batch's name."""
        return self.batch.batch_id

    @property
    def status(self) -> BatchStatus:
        """The batch's state."""
        return self.batch.status
