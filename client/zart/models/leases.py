"""Leased tasks, and what became of their outcomes and leases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from zart.models.json_value import Json
from zart.models.statuses import ReportStatus


@dataclass(frozen=True, slots=True)
class LeasedTask:
    """A queued task under lease.

    ``idempotency_key`` is set once an operator has corrected the input; else it is
    ``run_id/step_name``.
    """

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
    idempotency_key: str = ""
    upstream_skipped: tuple[str, ...] = ()


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
