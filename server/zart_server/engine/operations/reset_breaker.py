"""ResetBreaker: closes a breaker by hand; its rule ends."""

from __future__ import annotations

from zart_server.domain.breakers import Breaker, BreakerStatus, OneBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BreakerNotFound
from zart_server.engine.operations.close_breaker import close_breaker
from zart_server.store.breaking.rows import find_breaker, lock_breaker
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.pausing.lock import seize_pause_lock


async def reset_breaker(
    connection: Autocommit, command: OneBreaker, caller: Caller, within: float
) -> tuple[Tx, Breaker]:
    """Close a breaker by hand; one that is closed stays as it is.

    Return also the transaction, which begins with the pause lock. Raises BreakerNotFound, and
    OperationTimeout if that lock is not had ``within`` these seconds.
    """
    tx = await seize_pause_lock(connection, within)
    row = await lock_breaker(tx, command.breaker_id)
    if row is not None and row.breaker.status is not BreakerStatus.CLOSED:
        await close_breaker(tx, row, caller)
        row = await find_breaker(tx, command.breaker_id)
    if row is None:
        raise BreakerNotFound(command.breaker_id)
    return tx, row.breaker
