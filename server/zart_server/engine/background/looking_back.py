"""Looks at the past in pieces that take a bounded time each, the newest first.

A look for due tasks or expired leases begins at a mark, before which nothing was left. If a row
stands before the mark all the same, it is found here. All of the past is one piece as long as a
look at it is quick. It is slow while a snapshot is open for long, as every row deleted since is
read too: then the past is looked at piece by piece, with rests, which may take an hour. What is
late is seldom later than the time that a statement may take: meanwhile the last seconds are gone
through again and again beside it (``LAST_SECONDS``).
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TypeAlias

_SLOW = 0.02  # seconds
_QUICK = 0.005
_SHARE = 200  # looks back take one second in so many
NEAR_SHARE = 50  # those at the last seconds, while the past is dear
LAST_SECONDS = timedelta(seconds=35)  # longer than a statement takes
_FIRST = timedelta(seconds=1)
_SHORTEST = timedelta(milliseconds=50)
_LONG = timedelta(days=1)  # the past before it is one piece
_PIECES = 1_000  # after so many it begins anew at the mark, where new rows may be
# From (None: the beginning) and to.
Piece: TypeAlias = tuple[datetime | None, datetime]


class LookingBack:
    """How far the looks at the past have come; ``reach``: how far they go, None: to its beginning.

    They rest ``share`` times as long as they take.
    """

    def __init__(self, share: int = _SHARE, reach: timedelta | None = None) -> None:
        self._share = share
        self._reach = reach
        self._rests_until = 0.0
        self._before: datetime | None = None  # the end of the next piece; None: the mark
        # Of a piece; None: all of the past.
        self._span: timedelta | None = None if reach is None else _FIRST
        self._seconds = 0.0  # for the pieces so far
        self._pieces = 0
        self._mark: datetime | None = None  # where this pass began

    @property
    def is_dear(self) -> bool:
        """Whether the past is looked at piece by piece."""
        return self._span is not None

    def piece(self, mark: datetime | None) -> Piece | None:
        """Return the next piece to look at, before a mark; None: it is time to rest."""
        if mark is None or time.monotonic() < self._rests_until:
            return None
        if self._before is None:
            self._mark = mark
        before = mark if self._before is None else min(self._before, mark)
        if self._span is None or self._span >= _LONG:
            return None, before
        return before - self._span, before

    def looked(self, piece: Piece, seconds: float) -> None:
        """Note that a piece was looked at, and how long that took."""
        self._rests_until = time.monotonic() + seconds * self._share
        self._pieces += 1
        is_new = piece[0] is None or self._pieces >= _PIECES or self._is_reached(piece[0])
        self._before = None if is_new else piece[0]
        self._pieces = 0 if is_new else self._pieces
        self._seconds += seconds
        if piece[0] is None:
            self._span = None if self._seconds < _SLOW else _FIRST
            self._seconds = 0.0
        elif self._span is not None and seconds > _SLOW:
            # Not shorter: each look has a fixed cost.
            self._span = max(self._span / 2, _SHORTEST)
        elif self._span is not None and seconds < _QUICK:
            self._span *= 2
            if self._reach is not None:
                self._span = min(self._span, self._reach)

    def _is_reached(self, since: datetime) -> bool:
        return (
            self._reach is not None and self._mark is not None and since <= self._mark - self._reach
        )
