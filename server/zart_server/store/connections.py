"""Connections of SQLAlchemy's pool that are kept at hand.

Taking one from the pool and giving it back costs more than a short transaction does: three times as
much. So they are taken once and lent from here; the pool only makes and replaces them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Lent(NamedTuple):
    """A connection, and the driver's own below it."""

    connection: AsyncConnection
    raw: asyncpg.Connection[asyncpg.Record]


class Connections:
    """At most ``size`` connections; who finds none free waits up to ``patience`` seconds."""

    def __init__(self, engine: AsyncEngine, size: int, patience: float) -> None:
        self._engine = engine
        self._free = asyncio.Semaphore(size)
        self._patience = patience
        self._idle: list[Lent] = []

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Lent]:
        """Lend a connection that works. Raises TimeoutError, or what the driver does."""
        if self._free.locked():
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        else:
            await self._free.acquire()
        try:
            one = await self._take()
            try:
                yield one
            finally:
                await self._give_back(one)
        finally:
            self._free.release()

    async def _take(self) -> Lent:
        while self._idle:
            one = self._idle.pop()
            if not one.raw.is_closed():  # it is where the database was restarted meanwhile
                return one
            await _discard(one)
        connection = await self._engine.connect()
        pooled = await connection.get_raw_connection()
        raw: asyncpg.Connection[asyncpg.Record] = pooled.driver_connection  # type: ignore[assignment]
        return Lent(connection, raw)

    async def _give_back(self, one: Lent) -> None:
        if one.raw.is_closed() or one.raw.is_in_transaction():
            await _discard(one)
            return
        if one.connection.in_transaction():  # what SQLAlchemy takes for one, after a composed read
            await one.connection.rollback()
        self._idle.append(one)

    async def close(self) -> None:
        """Close all that are idle."""
        while self._idle:
            await self._idle.pop().connection.close()
        await self._engine.dispose()


async def _discard(one: Lent) -> None:
    """Drop a connection that is broken; the pool makes another."""
    one.raw.terminate()
    await one.connection.invalidate()
    await one.connection.close()
