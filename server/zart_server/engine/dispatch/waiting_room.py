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
    """The lines of one server. ``places``: how many may hold a connection while they wait.

    Half as many may while they only look, for a plan, and a quarter to count what an answer tells.
    """

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._trials = asyncio.Semaphore(places)
        self._looks = asyncio.Semaphore(max(1, places // 2))
        self._counts = asyncio.Semaphore(max(1, places // 4))
        self._lines: dict[str, asyncio.Lock] = {}
        self._lengths: dict[str, int] = {}
        self._tried: set[str] = set()

    def is_waited_for(self, target: str) -> bool:
        """Return whether somebody stands in line for this, or finds out whether that is needed."""
        return target in self._lines or target in self._tried

    @contextlib.asynccontextmanager
    async def trying(self, target: str) -> AsyncIterator[None]:
        """Try whether this is locked: one at a time, so that a crowd does not try all at once."""
        self._tried.add(target)
        try:
            yield
        finally:
            self._tried.discard(target)

    @contextlib.asynccontextmanager
    async def trying_many(self) -> AsyncIterator[None]:
        """Try whether any of many things is locked: some at a time, whatever they are."""
        async with self._trials:
            yield

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Wait for leave to look what would be done: some at a time."""
        async with self._looks:
            yield

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Wait for leave to count what was done: few at a time, and none of them behind plans."""
        async with self._counts:
            yield

    @contextlib.asynccontextmanager
    async def turn(self, target: str) -> AsyncIterator[None]:
        """Wait for the caller's turn at this target, and for leave to hold a connection."""
        async with self.line(target), self._places:
            yield

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for leave to hold a connection, in no line: what the caller waits for is its own."""
        async with self._places:
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


def places_of(pool_size: int) -> tuple[int, int, int]:
    """Return how many connections those may hold who may wait: mutations, reports, and reads.

    Mutations and reports count once they wait for locks, reads always. At least two fifths of a
    pool of five or more are left to others, whichever of the two wait: locks, or reads; a fifth
    where plans wait besides, which have half as many as mutations; counts for answers a quarter.
    """
    return max(1, pool_size * 2 // 5), max(1, pool_size // 5), max(1, pool_size * 3 // 5)
