"""Where calls wait for rows that others have locked: few of the calls hold a connection.

The calls that wait for one execution or run stand in a line, and only the first of them asks the
database. So a locked execution takes one connection, however many calls want it, and all locked
ones together a share of the pool; the rest of the pool serves calls that need not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class WaitingRoom:
    """The lines of one server. ``places``: how many may hold a connection while they wait."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._lines: dict[str, asyncio.Lock] = {}
        self._lengths: dict[str, int] = {}

    def is_waited_for(self, target: str) -> bool:
        """Return whether a call stands in line for this target."""
        return target in self._lines

    @contextlib.asynccontextmanager
    async def turn(self, target: str) -> AsyncIterator[None]:
        """Wait for the caller's turn at this target, and for leave to hold a connection."""
        async with self.line(target), self._places:
            yield

    @contextlib.asynccontextmanager
    async def line(self, target: str) -> AsyncIterator[None]:
        """Wait for the caller's turn at this target."""
        line = self._lines.setdefault(target, asyncio.Lock())
        self._lengths[target] = self._lengths.get(target, 0) + 1
        try:
            async with line:
                yield
        finally:
            self._lengths[target] -= 1
            if not self._lengths[target]:
                del self._lengths[target], self._lines[target]


def places_of(pool_size: int) -> tuple[int, int]:
    """Return how many connections may wait for locks: of mutations, and of reports.

    At least as many are left for other calls if the pool has five or more.
    """
    return max(1, pool_size * 2 // 5), max(1, pool_size // 5)
