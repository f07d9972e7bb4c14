"""What a plan binds that changes pause rules which stand: a Resume, or an UpdatePauseRule."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.model import PauseRule
from zart_server.domain.plans import Decisions, decided


def decided_of(rules: Sequence[PauseRule]) -> Decisions:
    """Return the decisions: which rules are changed, their statuses, and whom they exempt."""
    return decided(
        rules=[rule.rule_id for rule in rules],
        statuses=[rule.status for rule in rules],
        exemptions=[rule.exempt_execution_ids for rule in rules],
    )
