"""The receipt of a pause rule: what ran while it stood, judged by lease tokens, never by times.

Tokens grow. The last one that was given out when the rule was added, and when it ended, were read
under the exclusive pause lock, when no claim was under way: they divide the leases before from
those in the rule's window, and those from the leases after.
"""

from __future__ import annotations

import enum
import heapq
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

MAX_VIOLATIONS = 1_000  # that are listed
StepKey: TypeAlias = tuple[int, int]  # run key, step number


@dataclass(frozen=True, slots=True)
class RuleAttempt:
    """An attempt of a step that a rule's scope matches."""

    lease_token: int
    execution_id: str
    run_number: int
    step_name: str
    attempt: int
    dispatcher_id: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    """The rule, and the tokens between which it withheld what it matches.

    A lease is in it if its token is greater than ``token_from`` and not greater than
    ``token_until``. None: a server kept none, so nothing can be judged. ``ended_at`` None: the rule
    stands, and is judged until the token that was the last one when this was read. ``is_by_times``
    False: the database's clock may have been set back since it began, so that no time tells whether
    a run lived about it.
    """

    rule_key: int
    execution_id: str | None
    task_name: str | None
    step_regex: str | None
    started_at: datetime
    ended_at: datetime | None
    token_from: int | None
    token_until: int | None
    is_by_times: bool = True


class ReceiptGap(enum.Enum):
    """Why it is not known what was leased while a rule stood."""

    RUNS_PURGED = enum.auto()
    OLDER_SERVER = enum.auto()
    MAY_LACK_COMMITS = enum.auto()


class SeenLease(NamedTuple):
    """An attempt by its token, and its step."""

    lease_token: int
    step: StepKey


@dataclass(frozen=True, slots=True)
class ReceiptPiece:
    """What some steps have to do with a window: those ``upto`` one, the last there are or not."""

    upto: StepKey
    is_last: bool
    checked: int
    in_flight_at_start: int
    exempt: int
    released: int
    violations: tuple[RuleAttempt, ...]
    last_before: SeenLease | None
    first_after: SeenLease | None


@dataclass(slots=True)
class Receipt:
    """What is known so far of what ran while a rule stood; pieces are added one by one.

    ``gaps``: what could tell, but was not there to be read. ``last_before`` and ``first_after`` are
    named once the leases seen are known that are nearest to the window.
    """

    window: Window
    gaps: tuple[ReceiptGap, ...] = ()
    checked: int = 0
    in_flight_at_start: int = 0
    exempt: int = 0
    released: int = 0
    last_before: RuleAttempt | None = None
    first_after: RuleAttempt | None = None
    seen_before: SeenLease | None = None
    seen_after: SeenLease | None = None
    _violations: list[RuleAttempt] = field(default_factory=list)

    def add(self, piece: ReceiptPiece) -> None:
        """Add what was found of some more steps."""
        self.checked += piece.checked
        self.in_flight_at_start += piece.in_flight_at_start
        self.exempt += piece.exempt
        self.released += piece.released
        before, after = (self.seen_before, piece.last_before), (self.seen_after, piece.first_after)
        self.seen_before = max(filter(None, before), default=None)
        self.seen_after = min(filter(None, after), default=None)
        if piece.violations:
            found = (*self._violations, *piece.violations)
            self._violations = heapq.nsmallest(MAX_VIOLATIONS + 1, found, key=_token)

    @property
    def violations(self) -> list[RuleAttempt]:
        """The attempts that were leased though the rule withheld them, the first of them."""
        return self._violations[:MAX_VIOLATIONS]

    @property
    def violations_is_lower_bound(self) -> bool:
        """True if there are more violations than are listed."""
        return len(self._violations) > MAX_VIOLATIONS

    @property
    def is_complete(self) -> bool:
        """True if all that could tell was there to be read."""
        return not self.gaps

    @property
    def is_clean(self) -> bool:
        """True if nothing was leased that the rule withheld, and all that could tell was read."""
        return self.is_complete and not self._violations


def _token(attempt: RuleAttempt) -> int:
    return attempt.lease_token
