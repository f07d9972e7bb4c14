"""The one server at a time that goes through what has ended, which saves work and guards nothing.

But each of its pieces begins by locking the row: so does whoever changes for how long is kept what.
"""

from __future__ import annotations

from datetime import timedelta

from zart_server.store.connection import Connection, Tx

# Far beyond any rest: the clock was set back since.
_TOO_FAR = "interval '1 day'"


async def take_pass(connection: Connection, within: timedelta) -> bool:
    """Have this server go through what has ended, unless another does, or has just done.

    It is taken for so long; each piece prolongs that.
    """
    taken = await connection.execute(
        "UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval"
        " WHERE taken_until < statement_timestamp()"
        f" OR taken_until > statement_timestamp() + {_TOO_FAR}",
        within,
    )
    return taken > 0


async def set_pass(connection: Connection, within: timedelta) -> None:
    """Keep other servers, and this one, from taking a pass for so long."""
    await connection.execute(
        "UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval",
        within,
    )


async def hold_pass(tx: Tx) -> None:
    """Wait for the end of a piece that is under way; none goes on until this transaction ends."""
    await tx.execute("SELECT FROM zart.retention_passes FOR SHARE")
