"""What is counted of a pause rule: what it withholds, and what is in flight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """How many steps a rule withholds, and how many of those that it matches are in flight.

    ``silent`` are those in flight whose dispatcher has not extended their lease for half of its
    time: it may be dead, and then they count until their leases end, at ``silent_until`` the last.
    """

    paused: int = 0
    paused_is_lower_bound: bool = False
    running: int = 0
    silent: int = 0
    silent_until: datetime | None = None
