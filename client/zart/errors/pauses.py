"""Errors about pause rules, their releases, and the breakers that make rules."""

from __future__ import annotations

from zart.errors.base import NotFound, Refused


class PauseRuleNotFound(NotFound):
    """No pause rule has this id."""

    reason = "PAUSE_RULE_NOT_FOUND"


class BreakerNotFound(NotFound):
    """No breaker has this id."""

    reason = "BREAKER_NOT_FOUND"


class ScopeMatchesNothing(Refused):
    """No definition and no unfinished execution has what the scope names."""

    reason = "SCOPE_MATCHES_NOTHING"


class RuleNotActive(Refused):
    """The pause rule was resumed or has expired."""

    reason = "RULE_NOT_ACTIVE"


class RuleReleasing(Refused):
    """The pause rule is letting its steps go."""

    reason = "RULE_RELEASING"


class RuleNotReleasing(Refused):
    """The pause rule is not letting its steps go."""

    reason = "RULE_NOT_RELEASING"


class NothingPaused(Refused):
    """The pause rule withholds no step that it could let go."""

    reason = "NOTHING_PAUSED"


class RulesAmbiguous(Refused):
    """A pace is of exactly one rule; more are meant, or none."""

    reason = "RULES_AMBIGUOUS"
