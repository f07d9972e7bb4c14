"""The looks that are taken each second: for leases past their end, and for due tasks.

Each begins at a mark, so its cost depends on the rows that are there, not on those deleted before.
``LookingBack`` finds a row that stands before the mark all the same; ``_Back`` has two of them, as
one of all the past may take long.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from zart_server.engine.background.looking_back import (
    LAST_SECONDS,
    NEAR_SHARE,
    LookingBack,
    Piece,
)
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.connection import Connection
from zart_server.store.due import DueLane, due_before, due_lanes
from zart_server.store.leases import ExpiredLease, expired_leases

_LATE = timedelta(seconds=5)  # no lease is committed so long after its end


class _Back:
    """Looks at all the past, and, while those are dear, at its last seconds besides."""

    def __init__(self, back: LookingBack | None) -> None:
        self._all = back or LookingBack()
        self._near = LookingBack(NEAR_SHARE, LAST_SECONDS)

    def pieces(self, mark: datetime | None) -> Iterator[tuple[LookingBack, Piece]]:
        """Yield the pieces to look at now, each with whom to tell how long that took."""
        for back in (self._all, self._near) if self._all.is_dear else (self._all,):
            piece = back.piece(mark)
            if piece is not None:
                yield back, piece


class Expired(NamedTuple):
    """Leases past their end, and for how long the one behind the mark is that ended first."""

    leases: list[ExpiredLease]
    overdue: timedelta | None


class ExpiredLooks:
    """Looks for leases past their end."""

    MOST = 500

    def __init__(self, back: LookingBack | None = None) -> None:
        self._mark: datetime | None = None
        self._back = _Back(back)

    async def look(self, connection: Connection, without: Collection[int] = ()) -> Expired:
        """Return leases past their end, oldest first, but none of some runs."""
        mark, passed = self._mark, list(without)
        found = await expired_leases(connection, self.MOST, mark, None, passed)
        if not passed:  # else theirs may stand before the first
            self._mark = min(found.first or found.now, found.now - _LATE)
            if mark is not None:
                self._mark = max(mark, self._mark)
        leases = found.leases
        for back, piece in self._back.pieces(mark):
            missed = await expired_leases(connection, self.MOST, *piece, passed)
            if len(missed.leases) < self.MOST:
                back.looked(piece, missed.seconds)
            leases = list(dict.fromkeys(missed.leases + leases))  # both may look at one
        return Expired(leases, None if found.first is None else found.now - found.first)


class DueLooks:
    """Looks for due tasks."""

    def __init__(self, low_water: LowWater, back: LookingBack | None = None) -> None:
        self._low_water = low_water
        self._back = _Back(back)

    async def look(self, connection: Connection, task_names: Sequence[str]) -> list[DueLane]:
        """Return the lanes of these tasks that have queued tasks, due or not.

        The low-water marks of claims are set back where a due task stands before them.
        """
        begin = self._low_water.to_look(task_names)
        began = time.monotonic()
        due = await due_lanes(connection, task_names, begin)
        self._low_water.looked(task_names, begin, due, time.monotonic() - began)
        self._low_water.put_back([lane for lane in due.lanes if lane.due_in <= 0])
        lanes = due.lanes
        for back, piece in self._back.pieces(begin.since):
            missed = await due_before(connection, task_names, begin, *piece)
            back.looked(piece, missed.seconds)
            self._low_water.put_back(missed.lanes)
            lanes = lanes + missed.lanes
        return lanes
