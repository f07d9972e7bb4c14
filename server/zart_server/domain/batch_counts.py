"""How many items of a batch there are, by what became of them and of what they made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Counts(NamedTuple):
    """How many items a batch has, and how many are done and refused."""

    selected: int = 0
    done: int = 0
    refused: int = 0

    @property
    def left(self) -> int:
        """How many are neither."""
        return self.selected - self.done - self.refused


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of what the items that are done have made."""

    completed: int = 0
    dead: int = 0
    running: int = 0
    paused: int = 0
    scheduled: int = 0
    pending: int = 0
    cancelled: int = 0
    superseded: int = 0

    @property
    def in_flight(self) -> int:
        """How many may still change by themselves."""
        return self.running + self.scheduled + self.pending
