"""Errors about pause rules, their releases, and the breakers that make rules."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.errors.base import NotFound, ZartError


class PauseRuleNotFound(NotFound):
    """No pause rule has this id."""

    reason = "PAUSE_RULE_NOT_FOUND"

    def __init__(self, rule_id: str) -> None:
        super().__init__(f"no pause rule {rule_id!r}", rule_id=rule_id)


class BreakerNotFound(NotFound):
    """No breaker has this id."""

    reason = "BREAKER_NOT_FOUND"

    def __init__(self, breaker_id: str) -> None:
        super().__init__(f"no breaker {breaker_id!r}", breaker_id=breaker_id)


class ScopeMatchesNothing(ZartError):
    """No definition and no unfinished execution has what a scope names in ``field``."""

    reason = "SCOPE_MATCHES_NOTHING"

    def __init__(self, field: str, why: str, nearest: Sequence[str] = ()) -> None:
        meant = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        super().__init__(f"{why}{meant}", field=field, nearest=", ".join(nearest))
        self.field = field
        self.nearest = tuple(nearest)


class RuleNotActive(ZartError):
    """The pause rule has ended: it cannot be changed any more."""

    reason = "RULE_NOT_ACTIVE"

    def __init__(self, rule_id: str, status: str) -> None:
        super().__init__(
            f"pause rule {rule_id!r} is {status.upper()}, not ACTIVE",
            rule_id=rule_id,
            status=status.upper(),
        )


class RuleReleasing(ZartError):
    """The pause rule is letting its steps go."""

    reason = "RULE_RELEASING"

    def __init__(self, rule_id: str) -> None:
        super().__init__(
            f"pause rule {rule_id} is RELEASING: stop the release before", rule_id=rule_id
        )


class RuleNotReleasing(ZartError):
    """The pause rule is not letting its steps go."""

    reason = "RULE_NOT_RELEASING"

    def __init__(self, rule_id: str) -> None:
        super().__init__(f"pause rule {rule_id} is not RELEASING", rule_id=rule_id)


class NothingPaused(ZartError):
    """The pause rule withholds no step that it could let go."""

    reason = "NOTHING_PAUSED"

    def __init__(self, rule_id: str, looked_at: int | None = None) -> None:
        """``looked_at``: of how many steps, where the rule has more and they were not looked at."""
        if looked_at is None:
            super().__init__(f"no step is paused by rule {rule_id} alone", rule_id=rule_id)
        else:
            super().__init__(
                f"of the {looked_at} steps that were looked at none is paused by rule {rule_id}"
                " alone",
                rule_id=rule_id,
                looked_at=looked_at,
            )


class RulesAmbiguous(ZartError):
    """A pace is of exactly one rule, and not one is meant."""

    reason = "RULES_AMBIGUOUS"

    def __init__(self, rule_ids: Sequence[str], count: int) -> None:
        named = f": {', '.join(rule_ids)}" if rule_ids else ""
        super().__init__(
            f"a pace is of exactly one rule, {count} are meant{named}; give its rule_id",
            rules=count,
            rule_ids=", ".join(rule_ids),
        )
