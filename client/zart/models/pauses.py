"""Pause rules, and the answers of pause and resume."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.statuses import PauseRuleStatus


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


@dataclass(frozen=True, slots=True)
class Paused:
    """Answers pause: the new rule, what it withholds now, and what is still in flight."""

    rule: PauseRule
    paused_steps: int
    paused_steps_is_lower_bound: bool
    running_steps: int
    replayed: bool

    @property
    def rule_id(self) -> str:
        """The rule's name, which resume takes."""
        return self.rule.rule_id


@dataclass(frozen=True, slots=True)
class Resumed:
    """Answers resume: the rules deleted and how many steps that lets go."""

    rules_deleted: int
    rules: tuple[PauseRule, ...]
    released_steps: int
    released_steps_is_lower_bound: bool
    still_paused_steps: int
    replayed: bool
