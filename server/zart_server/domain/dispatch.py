"""What dispatchers ask for and what they are told, decoded: leases and outcomes.

``api`` makes the requests from protos and encodes the results; ``engine`` answers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from zart_server.domain.model import ReportStatus, StepError, StepSpec


@dataclass(frozen=True, slots=True)
class LeaseTasks:
    """Lease up to ``max_tasks``, waiting for the first. ``handlers`` empty: any.

    ``asked``: both as sets, where they are at hand: calls that wait for the same share them.
    """

    dispatcher_id: str
    task_names: tuple[str, ...]
    handlers: tuple[str, ...]
    max_tasks: int
    wait: timedelta
    lease_duration: timedelta
    principal: str = ""
    asked: tuple[frozenset[str], frozenset[str]] | None = None


class LeasedTask(NamedTuple):
    """A queued task under lease. ``lease_ttl`` is the span left, by the database's clock.

    ``definition_key`` and ``step_no`` say where ``step`` stands; it never changes. Where there was
    a ``correction``, the input is not that of the step, but that of the correction of this number.
    ``waited``: the seconds for which it had been ready. ``traceparent``: its run's, if it has one.
    """

    task_id: str
    lease_token: int
    execution_id: str
    run_number: int
    task_name: str
    definition_key: int
    step_no: int
    step: StepSpec
    attempt: int
    max_attempts: int
    payload_json: str | None
    upstream_json: dict[str, str]
    upstream_omitted: Sequence[str]
    lease_expires_at: datetime
    lease_ttl: timedelta
    traceparent: str | None = None
    waited: float = 0.0
    correction: int = 0
    corrected_input_json: str | None = None
    upstream_skipped: Sequence[str] = ()


def idempotency_key_of(run_id: str, step_name: str, correction: int) -> str:
    """Name what a step does, for whatever must not happen twice: another for each input it had.

    The first correction of a step is its second input: ``run_id/step_name/2``.
    """
    key = f"{run_id}/{step_name}"
    return f"{key}/{correction + 1}" if correction else key


@dataclass(frozen=True, slots=True, eq=False)
class LeaseNext:
    """Who takes on at once what an outcome or a start makes ready, up to ``max_tasks`` together.

    ``handlers`` empty: any. ``max_bytes``: of the tasks' payloads, inputs and results, together.
    """

    dispatcher_id: str
    principal: str
    task_names: frozenset[str]
    handlers: frozenset[str]
    max_tasks: int
    lease_duration: timedelta
    max_bytes: int = 4 * 1024 * 1024

    def takes(self, task_name: str, handler: str) -> bool:
        """Return whether it asks for this lane."""
        return task_name in self.task_names and (not self.handlers or handler in self.handlers)


class Completed(NamedTuple):
    """The attempt ended with a result."""

    result_json: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended with an error. ``retry_after`` None: the policy's backoff."""

    error: StepError
    retryable: bool
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than its timeout."""


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was given back unfinished; it does not count.

    Of a step that stops in doubt it is taken as lost, unless it has ``not_begun``. ``by_server``:
    the server gives it back, as its lease did not reach its dispatcher, or may not have.
    """

    retry_after: timedelta | None
    not_begun: bool = False
    by_server: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt's lease expired unreported. Only the server's sweep says this.

    Overdue: it was extended to the end and its time is up.
    """

    dispatcher_id: str
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """The attempt's dispatcher stops, and does not wait for the end of its handler."""

    dispatcher_id: str


Ending: TypeAlias = Completed | Failed | TimedOut | Released | Lost | BrokenOff


class Outcome(NamedTuple):
    """How one leased task ended. The lease must be the principal's own.

    ``lease_next``: who takes on what this makes ready; None: it is queued.
    """

    task_id: str
    lease_token: int
    ending: Ending
    principal: str = ""
    lease_next: LeaseNext | None = None


class ReportResult(NamedTuple):
    """What became of one reported outcome."""

    task_id: str
    status: ReportStatus
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of the outcomes of one call, in their order, and what they made ready for it."""

    results: list[ReportResult]
    tasks: list[LeasedTask]


@dataclass(frozen=True, slots=True)
class LeaseRef:
    """Names a lease, which must be the principal's own."""

    task_id: str
    lease_token: int
    principal: str = ""


@dataclass(frozen=True, slots=True)
class ExtendResult:
    """What became of one lease."""

    task_id: str
    extended: bool
    lease_expires_at: datetime | None = None
    lease_ttl: timedelta | None = None
