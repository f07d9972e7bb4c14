"""Pause rules, and the answers of pause and resume."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.request_warnings import RequestWarning
from zart.models.statuses import PauseRuleStatus


@dataclass(frozen=True, slots=True)
class PauseRuleRelease:
    """How a rule lets its steps go at a pace. ``expected_end_at`` None: nobody can tell."""

    rate_per_second: float
    released_steps: int
    started_at: datetime | None
    expected_end_at: datetime | None
    started_by: str
    waiting_for_dispatchers: bool


@dataclass(frozen=True, slots=True)
class ReleaseOnExpiry:
    """How a rule ends when its time is up: it releases so many steps a second from then on."""

    rate_per_second: float


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
    incident: str = ""
    exempt_execution_ids: tuple[str, ...] = ()
    paused_steps: int = 0
    paused_steps_is_lower_bound: bool = False
    running_steps: int = 0
    running_steps_is_lower_bound: bool = False
    drained_at: datetime | None = None
    breaker_id: str = ""
    release: PauseRuleRelease | None = None
    release_on_expiry: ReleaseOnExpiry | None = None

    @property
    def is_drained(self) -> bool:
        """True if nothing that it withholds is in flight."""
        return self.drained_at is not None


@dataclass(frozen=True, slots=True)
class WatchedPauseRule(PauseRule):
    """A message of a watch: the rule as it is now.

    ``silent_steps`` of its running steps have a lease that was not extended for half of its time:
    their dispatchers may be dead. They count until their leases end, at ``silent_until`` the last.
    """

    silent_steps: int = 0
    silent_until: datetime | None = None

    @property
    def rule(self) -> PauseRule:
        """The rule, as the message calls it: this one."""
        return self


@dataclass(frozen=True, slots=True)
class StoppedRelease(PauseRule):
    """Answers stop_release: the rule, which is ACTIVE."""

    replayed: bool = False

    @property
    def rule(self) -> PauseRule:
        """The rule, as the answer calls it: this one."""
        return self


@dataclass(frozen=True, slots=True)
class Paused:
    """Answers pause: the new rule, what it withholds now, and what is still in flight.

    A plan also tells how many unfinished executions have a matching step still to run, some of
    them, and since when the oldest of the ready steps can run; its rule has no id.
    """

    rule: PauseRule
    paused_steps: int
    paused_steps_is_lower_bound: bool
    running_steps: int
    replayed: bool
    warnings: tuple[RequestWarning, ...] = ()
    plan_token: str = ""
    planned: bool = False
    executions: int = 0
    executions_is_lower_bound: bool = False
    oldest_ready_at: datetime | None = None
    sample_execution_ids: tuple[str, ...] = ()

    @property
    def rule_id(self) -> str:
        """The rule's name, which resume takes."""
        return self.rule.rule_id


@dataclass(frozen=True, slots=True)
class UpdatedPauseRule:
    """Answers update_pause_rule: the rule, how many steps that lets go, and withholds again."""

    rule: PauseRule
    released_steps: int
    withheld_again_steps: int
    replayed: bool
    warnings: tuple[RequestWarning, ...]
    plan_token: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """Answers resume: the rules deleted, or the one that has a pace; how many steps go.

    ``still_releasing_rules`` are rule ids that were passed over, as they were not named. Of a scope
    ``rules_deleted`` counts all rules; of ``rules`` there are as many as an answer has room for,
    each with at most 100 of the executions that it exempts.
    """

    rules_deleted: int
    rules: tuple[PauseRule, ...]
    released_steps: int
    released_steps_is_lower_bound: bool
    still_paused_steps: int
    replayed: bool
    plan_token: str = ""
    planned: bool = False
    still_releasing_rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleAttempt:
    """An attempt of a step that a pause rule's scope matches; ``ended_at`` None: it is running."""

    execution_id: str
    run_number: int
    step_name: str
    attempt: int
    dispatcher_id: str
    started_at: datetime | None
    ended_at: datetime | None
