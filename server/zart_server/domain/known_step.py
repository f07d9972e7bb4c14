"""What is known of a step, its run and the rules that match it when it is to be explained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart_server.domain.model import AttemptStatus, RunStatus, StepError, StepStatus
from zart_server.domain.waiting import STALE_AFTER


@dataclass(frozen=True, slots=True)
class KnownRun:
    """The run that a step belongs to, as of ``now``.

    ``last_asked_at``: when a dispatcher asked for its task last. ``at_work``: where that is long
    ago, how many steps of the task are leased. ``in_doubt``: the steps that may have happened;
    ``happened``: those that have, as was found out, and are not completed.
    """

    execution_id: str
    task_name: str
    run_number: int
    current_run_number: int
    status: RunStatus
    ended_at: datetime | None
    error: str
    last_asked_at: datetime | None
    now: datetime
    at_work: int = 0
    in_doubt: frozenset[str] = frozenset()
    happened: frozenset[str] = frozenset()

    @property
    def is_current(self) -> bool:
        """Whether it is the newest run of its execution."""
        return self.run_number == self.current_run_number

    @property
    def is_asked_no_more(self) -> bool:
        """Whether dispatchers have asked for its task, and none has lately."""
        return self.last_asked_at is not None and self.now - self.last_asked_at > STALE_AFTER

    @property
    def is_over(self) -> bool:
        """Whether nothing leads on in it: RetryStep leads out of FAILED, in the current run."""
        return not self.is_current or self.status in (RunStatus.CANCELLED, RunStatus.COMPLETED)


@dataclass(frozen=True, slots=True)
class KnownBreaker:
    """A breaker that is not closed. ``tries_at``: when it has steps try; None: at no time."""

    breaker_id: str
    is_trying: bool
    tries_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownRule:
    """An active pause rule.

    Of one that is RELEASING: its rate, and whether it waits for dispatchers. Of a breaker that is
    not closed: that breaker. With ``expiry_rate`` its expiry ends nothing: from then on it is
    RELEASING, so many steps a second.
    """

    rule_key: int
    rule_id: str
    created_by: str
    reason: str
    created_at: datetime
    expires_at: datetime | None
    rate_per_second: float | None
    is_waiting: bool
    breaker: KnownBreaker | None = None
    expiry_rate: float | None = None

    @property
    def turn(self) -> tuple[float, int]:
        """Its place among releases of a step: that of the least decides.

        The slowest, of equals the oldest (``judge_release``): the step stands in the line of that.
        """
        return self.rate_per_second or 0.0, self.rule_key

    @property
    def ends_at(self) -> datetime | None:
        """When it ends by itself; None: never, or nobody knows."""
        return self.expires_at if self.expiry_rate is None else None

    @property
    def lets_go(self) -> tuple[datetime, float] | None:
        """From when on it lets steps go by itself, and how many a second; None: at no time."""
        if self.expires_at is None or self.expiry_rate is None:
            return None
        return self.expires_at, self.expiry_rate


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many stand before a step in a line. ``is_least``: at least so many."""

    count: int
    is_least: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A rule that matches a step and has not let it go.

    ``ahead``: the step's place in its line, where it is RELEASING and decides.
    """

    rule: KnownRule
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class KnownDoubt:
    """An attempt that may have had its effect, or ``happened``, as was found out.

    ``late_status``, and ``late_result`` unless it is long: as was reported too late.
    ``run_number``: the earlier run that it is of, found to have happened since; None: this one.
    """

    attempt: int
    ended_as: AttemptStatus
    ended_at: datetime
    happened: bool
    late_status: AttemptStatus | None
    late_result: str | None
    run_number: int | None = None


@dataclass(frozen=True, slots=True)
class KnownStep:
    """A step, as it is stored.

    ``attempt`` is the one that is queued, held or under way, else the last. ``counted``: how many
    of those before it count, as none does that was given back; 0 of a step that is not open.
    ``waits_for``, and ``dead`` among or behind them, are of a PENDING step; ``first`` is what is to
    end first of what it waits for. ``more_rules`` is how many matching rules are left out.
    ``ahead`` None: it is not in its lane. ``stops``: an attempt that is lost is in doubt.
    """

    step_name: str
    status: StepStatus
    handler: str
    attempt: int
    max_attempts: int
    counted: int = 0
    ready_at: datetime | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    dispatcher_id: str = ""
    lease_expires_at: datetime | None = None
    ended_at: datetime | None = None
    error: StepError | None = None
    waits_for: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    first: str = ""
    holding: tuple[Holding, ...] = ()
    more_rules: int = 0
    doubt: KnownDoubt | None = None
    ahead: Ahead | None = None
    stops: bool = False
