"""Where those wait who need what somebody else has locked: few of them hold a connection.

Who waits for one thing stands in a line of its own, and only its first asks the database. So a
locked execution takes one connection, however many want it, and all that are locked together a
share of the pool; the others are there for whoever need not wait.
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
        """Return whether somebody stands in line for this."""
        return target in self._lines

    @contextlib.asynccontextmanager
    async def turn(self, target: str) -> AsyncIterator[None]:
        """Wait until it is one's turn for this, and there is a place to wait for it."""
        async with self.line(target), self._places:
            yield

    @contextlib.asynccontextmanager
    async def line(self, target: str) -> AsyncIterator[None]:
        """Wait until it is one's turn for this."""
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
    """Return how many connections those may hold who wait for locks: mutations, and reports.

    At least as many are left to others where the pool has five or more.
    """
    return max(1, pool_size * 2 // 5), max(1, pool_size // 5)
