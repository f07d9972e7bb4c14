"""Opens what reads need: at one moment no more than a share of the pool's connections.

So reads that are slow, or wait for a table that somebody has locked, keep each other waiting, and
leave the rest to those who start, lease and report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from zart_server.domain.errors import StoreUnavailable
from zart_server.store.connection import Connection, Tx
from zart_server.store.db import Database

_PATIENCE = 5.0  # seconds; as long as anybody waits for a connection
_AT_ONCE = contextlib.nullcontext()
_WAIT = (
    "reads wait for each other: all connections that reads may have are in use, by slow ones or"
    " ones that wait for locks"
)


class Reading:
    """The reads of one server. ``places``: how many may hold a connection at once."""

    def __init__(self, db: Database, places: int) -> None:
        self._db = db
        self._places = asyncio.Semaphore(places)

    @contextlib.asynccontextmanager
    async def transaction(self, *, snapshot: bool = False, first: str = "") -> AsyncIterator[Tx]:
        """Open a transaction, as ``Database.transaction`` does, once there is a place."""
        async with self._place(), self._db.transaction(snapshot=snapshot, first=first) as tx:
            yield tx

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Return a connection for looks that need not agree, once there is a place."""
        async with self._place(), self._db.autocommit() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            # A timeout costs more than a place that is free, for which nobody waits.
            async with asyncio.timeout(_PATIENCE) if self._places.locked() else _AT_ONCE:
                await self._places.acquire()
        except TimeoutError:
            self._db.outages.tell(_WAIT)
            raise StoreUnavailable from None
        try:
            yield
        finally:
            self._places.release()
