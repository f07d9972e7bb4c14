"""Takes the pause lock exclusively without stopping transactions that share it.

While a session waits for the exclusive lock, all sessions wait that ask to share it. So the lock is
asked for a moment at a time, and between two moments others go on. A transaction that hangs while
it shares the lock, as that of a frozen server, then delays only a Pause, until PostgreSQL ends the
transaction (``idle_in_transaction_session_timeout``).
"""

from __future__ import annotations

import asyncio
import random

import asyncpg

from zart_server.domain.errors import OperationTimeout
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.patience import at_most
from zart_server.store.pausing.rules import PAUSE_LOCK, SEIZE_PAUSE_LOCK

_SHORTEST = 0.1  # seconds that the first attempt waits for the lock
# The last attempts wait longer than a usual transaction lasts, or they would never succeed.
_LONGEST = 1.0
_GAP = 0.5
_SHOWN = 3

_HOLDERS = f"""
    SELECT a.pid, a.application_name, host(a.client_addr) AS client, a.state,
        round(EXTRACT(epoch FROM clock_timestamp() - a.state_change), 1) AS seconds
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.classid = {PAUSE_LOCK >> 32} AND l.objid = {PAUSE_LOCK & 0xFFFF_FFFF}
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND a.state_change < clock_timestamp() - {_SHORTEST} * interval '1 second'
    ORDER BY a.state_change LIMIT {_SHOWN}
"""


# For who takes the pause lock again and again: one transaction after the other, of all servers, and
# each after a rest, so that others have that lock for at least as long.
_TURNS = 0x7A61_7274_0004
_REST = 0.1
IN_TURN = f"SELECT pg_advisory_xact_lock({_TURNS});SELECT pg_sleep({_REST});"


async def seize_pause_lock(connection: Autocommit, within: float, first: str = "") -> Tx:
    """Begin a transaction with the pause lock, exclusive until the end of the transaction.

    The transaction's later waits for locks are as short. ``first``: statements that run before the
    lock is asked for, each time, as IN_TURN, whose wait is the session's usual one. Raises
    OperationTimeout, with the names of the sessions that share the lock, if it is not free within
    so many seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    wait = _SHORTEST
    while True:
        begin = f"BEGIN;{first}{at_most(wait)}{SEIZE_PAUSE_LOCK}"
        try:
            return await connection.begin(begin)
        except asyncpg.LockNotAvailableError:
            await connection.roll_back()
        gap = min(wait, _GAP) * random.uniform(1.0, 1.5)  # noqa: S311 - keeps servers apart, guards nothing
        if loop.time() + gap > deadline:
            raise OperationTimeout(await _holders(connection))
        await asyncio.sleep(gap)
        wait = min(wait * 1.5, _LONGEST)


async def _holders(connection: Connection) -> list[str]:
    """Return the names of sessions that have held the pause lock and idled for a while."""
    return [
        f"{row['application_name'] or 'a session'} (pid {row['pid']}"
        + (f" at {row['client']}" if row["client"] else "")
        + (f", {row['state']} for {row['seconds']} s" if row["state"] else "")
        + ")"
        for row in await connection.fetch(_HOLDERS)
    ]
