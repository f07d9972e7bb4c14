"""The one server at a time that goes through what has ended, which saves work and guards nothing.

But each of its pieces begins by locking the row: so does whoever changes for how long is kept what.
The row has how far it has come, so that who goes on after it need not begin at the oldest.
"""

from __future__ import annotations

import json
from datetime import timedelta

from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.store.connection import Connection, Tx

# A server that goes through it, and says nothing for so long, is gone.
TAKEN = timedelta(minutes=1)
# Beyond any rest, which is ten minutes at most: the clock was set back since.
_TOO_FAR = "interval '15 minutes'"


async def take_pass(connection: Connection, within: timedelta) -> EndedCursor | None:
    """Have this server go through what has ended, unless another does, or has just done: None then.

    It is taken for so long; each piece prolongs that. Return where to begin.
    """
    row = await connection.fetchrow(
        "UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval"
        " WHERE taken_until < statement_timestamp()"
        f" OR taken_until > statement_timestamp() + {_TOO_FAR} RETURNING come_to",
        within,
    )
    if row is None:
        return None
    return EndedCursor.of_positions(json.loads(row[0])) if row[0] else FROM_THE_OLDEST


async def set_pass(
    connection: Connection, within: timedelta, cursor: EndedCursor = FROM_THE_OLDEST
) -> None:
    """Keep other servers, and this one, from taking a pass for so long; it then begins there."""
    await connection.execute(
        "UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval,"
        " come_to = $2::jsonb",
        within,
        json.dumps(cursor.to_positions()),
    )


async def prolong_pass(tx: Tx, within: timedelta) -> None:
    """Keep other servers from taking a pass for so long; where the next one begins stays."""
    await tx.execute(
        "UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval",
        within,
    )


async def hold_pass(tx: Tx) -> None:
    """Wait for the end of a piece that is under way; none goes on until this transaction ends."""
    await tx.execute("SELECT FROM zart.retention_passes FOR SHARE")
