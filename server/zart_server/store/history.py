"""Which history of the database a connection writes: a failover that lost some begins another."""

from __future__ import annotations

import asyncpg

# It waits for no standby: one that lacks this and is promoted begins another history. A server that
# begins while none answers could not even read.
_JOIN = """
    SELECT zart.join_history($1)
    FROM (SELECT set_config('synchronous_commit', 'local', true) OFFSET 0) here
"""


async def join_history(connection: asyncpg.Connection[asyncpg.Record], *, is_first: bool) -> str:
    """Return the name of the history that this connection writes, after making its tokens its own.

    Called for each new connection, before anything else uses it: whatever ends a history ends the
    connections to it, too. ``is_first`` draws tokens anew even in a history that is known, as a
    server does when it starts. Takes an advisory lock of its own, and commits. Raises the driver's
    error for a read-only transaction at a standby, so that no connection outlives its promotion.
    """
    name: str = await connection.fetchval(_JOIN, is_first)
    return name
