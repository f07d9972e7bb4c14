"""Task definitions: the graph of steps, and how each step is repeated."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from zart.models.json_value import Json
from zart.models.statuses import IfInDoubt


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed attempts of a step are repeated.

    ``max_attempts`` may count before the step is dead. The wait before the next attempt starts
    with ``initial_backoff`` and grows by ``backoff_multiplier`` up to ``max_backoff``, with
    jitter; both are seconds or a timedelta. Raises ValueError for no attempt at all, or a
    multiplier below 1: to servers 0 is as not given.
    """

    max_attempts: int = 3
    initial_backoff: float | timedelta = 1.0
    backoff_multiplier: float = 2.0
    max_backoff: float | timedelta = 60.0

    def __post_init__(self) -> None:
        if not self.max_attempts >= 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be at least 1")
        if not self.backoff_multiplier >= 1:
            raise ValueError(f"backoff_multiplier is {self.backoff_multiplier}, must be at least 1")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a graph; ``handler`` (default: the step's name) is the code that runs it.

    ``if_in_doubt`` STOP: it is never run again by itself once an attempt may have had its effect.
    """

    step_name: str
    depends_on: tuple[str, ...] | list[str] = ()
    handler: str = ""
    input: Json = None
    retry: Retry = field(default_factory=Retry)
    timeout: float | timedelta = 600.0
    if_in_doubt: IfInDoubt = IfInDoubt.RETRY


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A kind of job: its name and its graph of steps.

    A list has no steps of one that is too large for it.
    """

    task_name: str
    version: int
    steps: tuple[StepSpec, ...]
    last_asked_at: datetime | None
    created_at: datetime | None
