"""What a figure is to be, and whether it is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """One target beside its result; ``found`` has a number for each round."""

    what: str
    kind: Literal["at least", "at most"]
    bound: float
    found: Sequence[float]
    unit: str = "×"

    @property
    def result(self) -> float:
        """The median."""
        return statistics.median(self.found)

    @property
    def met(self) -> bool:
        """Whether the median is on the right side of the bound."""
        if self.kind == "at least":
            return self.result >= self.bound
        return self.result <= self.bound


def at_least(bound: float, what: str, found: Sequence[float], unit: str = "×") -> Target:
    """Make a target that a figure must reach."""
    return Target(what, "at least", bound, found, unit)


def at_most(bound: float, what: str, found: Sequence[float], unit: str = "×") -> Target:
    """Make a target that a figure must not pass."""
    return Target(what, "at most", bound, found, unit)
