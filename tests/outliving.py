"""Long work in a transaction, of which PostgreSQL hears: else it ends the transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zart_server.domain.errors import StoreConflict, StoreUnavailable
from zart_server.store.connection import Tx
from zart_server.store.db import Database

T = TypeVar("T")
_SILENCE = "SET LOCAL idle_in_transaction_session_timeout = '1s'"


async def outlived(database_url: str, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Do work in a transaction that ends where PostgreSQL hears nothing of it for a second.

    Up to three times, each with nothing at hand: on a busy machine this process may stop for as
    long. What itself says nothing for a second ends each time.
    """
    for _ in range(2):
        with contextlib.suppress(StoreConflict, StoreUnavailable):
            return await _done(database_url, work)
    return await _done(database_url, work)


async def _done(database_url: str, work: Callable[[Tx], Awaitable[T]]) -> T:
    database = await Database.open(database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            await tx.execute(_SILENCE)
            found = await work(tx)
            await tx.execute("SELECT")
            return found
    finally:
        await database.close()
