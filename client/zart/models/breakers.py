"""Breakers, and the answers of what is done to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from zart.models.executions import StepError
from zart.models.statuses import BreakerStatus


@dataclass(frozen=True, slots=True)
class Breaker:
    """Pauses steps by itself when too many of their attempts end badly."""

    breaker_id: str
    task_name: str | None
    step_pattern: str | None
    failure_threshold: int
    window: timedelta | None
    min_failure_ratio: float
    error_group_id: str | None
    cooldown: timedelta | None
    probe_steps: int
    rate_per_second: float | None
    status: BreakerStatus
    failures_in_window: int
    opened_at: datetime | None
    half_open_at: datetime | None
    cooldown_ends_at: datetime | None
    rule_id: str
    trip_count: int
    last_error: StepError | None
    reason: str
    created_by: str
    principal: str
    incident: str
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChangedBreaker:
    """Answers what is done to a breaker: the breaker as it is now."""

    breaker: Breaker
    replayed: bool

    @property
    def breaker_id(self) -> str:
        """The breaker's name."""
        return self.breaker.breaker_id

    @property
    def status(self) -> BreakerStatus:
        """The breaker's state."""
        return self.breaker.status

    @property
    def rule_id(self) -> str:
        """The pause rule that it made when it opened last."""
        return self.breaker.rule_id


@dataclass(frozen=True, slots=True)
class DeletedBreaker:
    """Answers delete_breaker: the breaker as it was, and the pause rule that it leaves, if any."""

    breaker: Breaker
    replayed: bool
    left_rule_id: str
