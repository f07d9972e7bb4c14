"""Where claims have come to in each lane's queue, so that they need not begin at its head.

While somebody holds a snapshot open, PostgreSQL cannot forget the index entries of tasks that are
gone, and a claim would read all of them first. What comes to stand before a mark, since it was
committed late or put back in its place, is found after a moment, when a look begins at the head
again, and by every claim that finds less than it wants behind the mark.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from zart_server.store.queue import Claimed, Place

_KEPT = 0.25  # seconds between two looks from the head; more while such a look takes long
_SHARE = 20  # a look from the head may take one in so many of all seconds
_MOST = 1000
_Lanes: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True)
class _Marks:
    until: float
    places: dict[int, Place] = field(default_factory=dict)
    looked_at: float = 0.0


class LowWater:
    """The marks of one server, for each set of tasks and handlers that is asked for."""

    def __init__(self) -> None:
        self._marks: dict[_Lanes, _Marks] = {}

    def since(self, task_names: Sequence[str], handlers: Sequence[str]) -> Mapping[int, Place]:
        """Give the places, by lane, from where on to look now; none: from the heads."""
        marks = self._marks.get((tuple(task_names), tuple(handlers)))
        now = time.monotonic()
        if marks is None:
            return {}
        if now < marks.until:
            return marks.places
        marks.looked_at = now
        return {}

    def note(
        self,
        task_names: Sequence[str],
        handlers: Sequence[str],
        claimed: Sequence[Claimed],
        max_tasks: int,
        since: Mapping[int, Place],
    ) -> None:
        """Note what a look that began at ``since`` has found; less than wanted drops the marks."""
        key = tuple(task_names), tuple(handlers)
        if len(claimed) < max_tasks:
            self._marks.pop(key, None)
            return
        now = time.monotonic()
        marks = self._marks.get(key)
        if marks is None:
            if len(self._marks) >= _MOST:
                self._marks.clear()
            marks = self._marks[key] = _Marks(now + _KEPT)
        elif not since:
            took = now - marks.looked_at if marks.looked_at else 0.0
            marks.until = now + max(_KEPT, took * _SHARE)
        places: dict[int, Place] = {}
        for item in claimed:
            place = item.not_before, item.queue_no
            if item.lane not in places or places[item.lane] < place:
                places[item.lane] = place
        marks.places = {**marks.places, **places}

    def forget(self) -> None:
        """Begin at the heads: something was put back."""
        self._marks.clear()
