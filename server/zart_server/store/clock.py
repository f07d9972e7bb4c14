"""The database's clock, by which everything is timed that servers have to agree on."""

from __future__ import annotations

from datetime import datetime

from zart_server.store.connection import Connection


async def read_clock(connection: Connection) -> datetime:
    """Return the time of this statement."""
    time: datetime = await connection.fetchval("SELECT statement_timestamp()")
    return time
