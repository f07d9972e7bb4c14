"""Has an answer wait for the synchronous standby also where what it tells was found, not done.

A commit waits for the standby of ``synchronous_standby_names``. One that is cut off while it waits,
or by a crash, is done all the same: everybody finds it, and no standby may have it. Who answers by
what was found commits something that comes later than that, and is waited for together with all
that came before. A transaction that has locked a row does so by that.
"""

from __future__ import annotations

from zart_server.store.connection import Connection

# To those who read the WAL it is a message that nobody asked for. It makes the transaction one that
# has written something. Without a standby nothing is written, and nothing waited for.
REACH = """
    SELECT pg_logical_emit_message(true, 'zart', '')
    WHERE current_setting('synchronous_standby_names') <> ''
"""


async def reach_standby(connection: Connection) -> None:
    """Have all that was found until now be on the standby by the commit of the transaction.

    Without a transaction: by the end of this.
    """
    await connection.execute(REACH)
