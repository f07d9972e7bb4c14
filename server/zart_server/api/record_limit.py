"""Limits how much one caller can put on record that was not done: 60 in any minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST = 60
_MINUTE = 60.0  # seconds
_CALLERS = 10_000


class Origin(NamedTuple):
    """Who calls, as the server verified it, and by which address it is counted (``api.peer``)."""

    principal: str
    address: str


@dataclass(slots=True)
class _Recorded:
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST))  # of the last ones
    omitted: int = 0  # since the last one


class RecordLimit:
    """Counts by caller what is put on record."""

    def __init__(self) -> None:
        self._by_origin: dict[Origin, _Recorded] = {}

    def admits(self, origin: Origin, now: float) -> bool:
        """Return whether one more may be put on record at ``now``, in seconds; count it else."""
        recorded = self._by_origin.pop(origin, None) or _Recorded()
        while len(self._by_origin) >= _CALLERS:
            del self._by_origin[next(iter(self._by_origin))]  # the one longest without a call
        self._by_origin[origin] = recorded
        if len(recorded.times) == _MOST and now - recorded.times[0] < _MINUTE:
            recorded.omitted += 1
            return False
        recorded.times.append(now)
        return True

    def take_omitted(self, origin: Origin) -> int:
        """Return how many were not put on record since this was asked last."""
        recorded = self._by_origin[origin]
        omitted, recorded.omitted = recorded.omitted, 0
        return omitted
