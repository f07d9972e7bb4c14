"""How many rows a piece of the removal of what has ended takes, and how long it rests then.

Both by how long the last pieces took.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_FIRST, _MOST = 20, 2000  # executions, or operations; nobody knows what they hold
_LONG = 0.25  # seconds that a piece may take; then the next is a smaller one
_TOO_LONG = 2.0  # seconds: then it is smaller than ``_FIRST``, too
# The share of the time that is spent on it: more, the later it is, so that it keeps pace with what
# ends; never so much that dispatchers go short of a database.
_LEAST_SHARE, _MOST_SHARE = 0.05, 0.7
LATE = 60.0  # seconds: overdue by so much it takes its largest share


@dataclass(slots=True)
class PieceSize:
    """How many are in the ``next`` piece."""

    next: int = _FIRST

    def took(self, seconds: float) -> None:
        """Go by a piece that got through: what any takes, however small, makes it no tiny one."""
        if seconds <= _LONG:
            self.next = min(_MOST, self.next * 2)
        else:
            fewest = 1 if seconds > _TOO_LONG else min(self.next, _FIRST)
            self.next = max(fewest, self.next // 2)

    def failed(self, tried: int) -> None:
        """Go by a piece of so many that did not get through: fewer at a time do."""
        self.next = max(1, tried // 4)


async def leave_time(took: float, overdue: float) -> None:
    """Leave the database to others, after a piece that took so many seconds.

    The longer, the less overdue its rows were: by how many seconds.
    """
    await asyncio.sleep(time_to_leave(took, overdue))


def time_to_leave(took: float, overdue: float) -> float:
    """Return for how many seconds ``leave_time`` leaves the database to others."""
    share = min(max(overdue / LATE * _MOST_SHARE, _LEAST_SHARE), _MOST_SHARE)
    return took * (1 / share - 1)
