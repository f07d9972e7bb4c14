"""What a Pause is answered with: its rule, and in a plan what that would withhold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart_server.domain.commands import PauseCounts
from zart_server.domain.errors import ScopeMatchesNothing
from zart_server.domain.model import PauseRule


@dataclass(frozen=True, slots=True)
class EqualRule:
    """A rule that stands and has the very scope of another one."""

    rule_id: str
    created_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PauseWarnings:
    """What may not be meant: that a scope names nothing there is, or what a rule has named."""

    mistake: ScopeMatchesNothing | None
    equal: tuple[EqualRule, ...]


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a rule would withhold: of ready steps, and of what is still to run.

    ``executions`` are the unfinished ones with a matching step that is not completed;
    ``oldest_ready_at`` is since when the oldest of the ready steps could run.
    """

    counts: PauseCounts
    executions: int
    executions_is_lower_bound: bool
    oldest_ready_at: datetime | None
    sample_execution_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PausePlan:
    """What Pause would do."""

    plan_token: str
    radius: BlastRadius
    warnings: PauseWarnings


@dataclass(frozen=True, slots=True)
class Paused:
    """The rule that Pause added, or with a ``plan`` would add."""

    rule: PauseRule
    plan: PausePlan | None = None
