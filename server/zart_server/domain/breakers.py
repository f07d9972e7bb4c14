"""Breakers: what each counts, when it opens, and for how long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum

from zart_server.domain.errors import InvalidField
from zart_server.domain.model import PauseScope, StepError

MOST_COOLDOWNS = 10  # how many times its cooldown a breaker stays open at most


class BreakerStatus(StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """What a breaker counts and does, as callers set it."""

    task_name: str | None
    step_pattern: str | None
    failure_threshold: int
    window: timedelta
    min_failure_ratio: float
    error_group_id: str | None
    cooldown: timedelta | None
    probe_steps: int
    rate_per_second: float | None

    @property
    def scope(self) -> PauseScope:
        """What it counts, and what its rule withholds."""
        return PauseScope(None, self.task_name, self.step_pattern)

    def changed(self, to: BreakerSettings, names: Collection[str]) -> BreakerSettings:
        """Return these settings with those named taken from others.

        Raises InvalidField where neither a task nor a step would be named.
        """
        settings = replace(self, **{name: getattr(to, name) for name in names})
        settings.check_scope()
        return settings

    def check_scope(self) -> None:
        """Raise InvalidField where neither a task nor a step is named."""
        if self.scope.is_empty:
            raise InvalidField("breaker.task_name", "set task_name, step_pattern, or both")

    def counts_as(self, other: BreakerSettings) -> bool:
        """Return whether these count the same attempts as others."""
        return all(getattr(self, name) == getattr(other, name) for name in _COUNTED)


SETTINGS = tuple(field.name for field in fields(BreakerSettings))
# Another ratio is another count: completed attempts are counted only where there is one.
_COUNTED = ("task_name", "step_pattern", "error_group_id", "min_failure_ratio")


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker and its state."""

    breaker_id: str
    settings: BreakerSettings
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
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeletedBreaker:
    """A breaker as it was, and the id of the pause rule that it leaves; empty: none stands."""

    breaker: Breaker
    left_rule_id: str


@dataclass(frozen=True, slots=True)
class CreateBreaker:
    """Asks for a new breaker."""

    settings: BreakerSettings


@dataclass(frozen=True, slots=True)
class UpdateBreaker:
    """Asks for the settings named in ``changed`` to be as they are here."""

    breaker_id: str
    settings: BreakerSettings
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneBreaker:
    """Asks for a breaker to be tripped, reset or deleted, as the operation says."""

    breaker_id: str


def breaker_name(breaker_id: str) -> str:
    """Return the name by which a breaker is on record."""
    return f"breaker {breaker_id}"
