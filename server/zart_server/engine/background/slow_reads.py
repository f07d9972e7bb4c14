"""The watched executions whose reads took longer than a statement may: read alone, and seldom.

One reader reads for all watches, so that each such read keeps all of them waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TypeAlias

_Wanted: TypeAlias = tuple[str, int | None]
_REST = 4  # times as long as the read took, in which none of them is read
_MOST = 1_000  # that are remembered


def _now() -> float:
    return asyncio.get_running_loop().time()


class SlowReads:
    """The executions, or runs of them, that could not be read in time when they were read last."""

    def __init__(self, clock: Callable[[], float] = _now) -> None:
        self._now = clock
        self._known: dict[_Wanted, None] = {}
        self._rest_until = 0.0

    def __contains__(self, wanted: _Wanted) -> bool:
        return wanted in self._known

    @property
    def may_read(self) -> bool:
        """Whether one of them may be read now."""
        return self._now() >= self._rest_until

    def timed_out(self, wanted: _Wanted, begun: float) -> None:
        """Note one whose read, which began then, took too long, though it was read alone."""
        now = self._now()
        self._rest_until = now + _REST * (now - begun)
        self._known.pop(wanted, None)
        self._known[wanted] = None
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def were_read(self, wanted: Collection[_Wanted]) -> None:
        """Forget those that could be read."""
        if self._known:
            for each in wanted:
                self._known.pop(each, None)
