"""The receipt of a pause rule: what was leased while it stood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.errors import PauseUnproven, PauseViolated
from zart.models import ReceiptGap, RuleAttempt

_GAPS = {
    ReceiptGap.RUNS_PURGED: "runs of that time were purged",
    ReceiptGap.OLDER_SERVER: "a server older than receipts added or ended the rule",
    ReceiptGap.MAY_LACK_COMMITS: "the database was restored, or failed over to another PostgreSQL,"
    " while the rule stood: what was leased shortly before may be lost",
    ReceiptGap.UNSPECIFIED: "what is gone, only newer clients know",
}


@dataclass(frozen=True, slots=True)
class PauseReceipt:
    """Answers verify_pause_rule.

    ``clean``: nothing was leased that the rule withheld, and all that could tell was read, which
    ``is_complete`` says alone, and ``gaps`` why not. ``window_ended_at`` None: the rule stands, and
    was judged until now.
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
    gaps: tuple[ReceiptGap, ...] = ()

    @property
    def why_incomplete(self) -> str:
        """What is gone that could tell, in words; empty where nothing is."""
        if self.is_complete:
            return ""
        if self.gaps:
            return "; ".join(_GAPS[gap] for gap in self.gaps)
        # Of a server that does not tell. For an older server's rule nothing is counted.
        purged, older = _GAPS[ReceiptGap.RUNS_PURGED], _GAPS[ReceiptGap.OLDER_SERVER]
        return purged if self.checked_attempts else f"{purged}, or {older}"

    def raise_unless_clean(self) -> None:
        """Raise unless the receipt proves that the pause held: what a script goes on by.

        PauseViolated if anything was leased that the rule withheld, else PauseUnproven, which says
        why nobody can know.
        """
        self.raise_if_violated()
        if not self.clean:
            raise PauseUnproven(f"whether the pause held is not known: {self._doubt()}")

    def raise_if_violated(self) -> None:
        """Raise PauseViolated if anything was leased that the rule withheld.

        It does not look at ``is_complete``: of a receipt that is not complete it says nothing,
        though that proves nothing. Use ``raise_unless_clean`` to go on by.
        """
        if self.violations:
            raise PauseViolated(self.violations, is_lower_bound=self.violations_is_lower_bound)

    def _doubt(self) -> str:
        if self.is_complete:
            return (
                "the server does not call the receipt clean, for a reason that only newer ones know"
            )
        left = f"; the {self.checked_attempts} attempts that are left violate nothing"
        return (
            f"the receipt is not complete: {self.why_incomplete}"
            f"{left if self.checked_attempts else ''}"
        )
