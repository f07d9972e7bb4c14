"""Lets transactions end that began before a moment.

What is stored has the time at which its statement began, which may have waited for a lock since
then, or its transaction be long. Whoever tells by such times how things stood at a moment has to
see what was on its way by then.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from zart_server.store.connection import Connection

_LOOK = 0.005  # seconds between two looks
# What has written or locked something has a transaction id. A statement that waits for its first
# lock has none yet, but its time: it is among those at work, as are some that only read.
_ARE_ANY = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database()
          AND application_name LIKE 'zart-%' AND pid <> pg_backend_pid()
          AND application_name NOT LIKE 'zart-migrate%'
          AND (backend_xid IS NOT NULL AND xact_start < $1
               OR state = 'active' AND query_start < $1))
"""


async def let_earlier_end(connection: Connection, moment: datetime, within: float) -> bool:
    """Wait until no server's transaction that may write is older than a moment of the database's.

    Return False if one still is after ``within`` seconds.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while True:
        await connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction keeps it
        if not await connection.fetchval(_ARE_ANY, moment):
            return True
        if loop.time() > until:
            return False
        await asyncio.sleep(_LOOK)
