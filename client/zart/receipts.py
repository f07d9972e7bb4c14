"""The receipt of a pause rule: what was leased while it stood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.errors import PauseViolated
from zart.models import RuleAttempt


@dataclass(frozen=True, slots=True)
class PauseReceipt:
    """Answers verify_pause_rule.

    ``clean``: nothing was leased that the rule withheld, and all that could tell was read, which
    ``is_complete`` says alone. ``window_ended_at`` None: the rule stands, and was judged until now.
    """

    clean: bool
    window_started_at: datetime | None
    window_ended_at: datetime | None
    checked_attempts: int
    in_flight_at_start: int
    exempt_attempts: int
    released_attempts: int
    last_before: RuleAttempt | None
    first_after: RuleAttempt | None
    violations: tuple[RuleAttempt, ...]
    violations_is_lower_bound: bool
    is_complete: bool

    def raise_if_violated(self) -> None:
        """Raise PauseViolated if anything was leased that the rule withheld.

        A receipt that is not complete need not have a violation, and is not clean all the same.
        """
        if self.violations:
            raise PauseViolated(self.violations, is_lower_bound=self.violations_is_lower_bound)
