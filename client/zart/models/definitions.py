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
    jitter; both are seconds or a timedelta.
    """

    max_attempts: int = 3
    initial_backoff: float | timedelta = 1.0
    backoff_multiplier: float = 2.0
    max_backoff: float | timedelta = 60.0


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
    """A kind of job: its name and its graph of steps."""

    task_name: str
    version: int
    steps: tuple[StepSpec, ...]
    last_asked_at: datetime | None
    created_at: datetime | None
