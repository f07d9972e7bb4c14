"""DeleteBreaker: ends a breaker; its rule stays."""

from __future__ import annotations

from zart_server.domain.breakers import DeletedBreaker, OneBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BreakerNotFound
from zart_server.domain.operations import OperationKind
from zart_server.store.breaking.rows import drop_breaker, lock_breaker, record
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.pausing.lock import seize_pause_lock


async def delete_breaker(
    connection: Autocommit, command: OneBreaker, caller: Caller, within: float
) -> tuple[Tx, DeletedBreaker]:
    """Delete a breaker, and return it as it was; its rule stays, if it has not ended.

    Return also the transaction. Raises BreakerNotFound, and OperationTimeout if the pause lock is
    not had ``within`` these seconds.
    """
    tx = await seize_pause_lock(connection, within)
    row = await lock_breaker(tx, command.breaker_id)
    if row is None:
        raise BreakerNotFound(command.breaker_id)
    left = await drop_breaker(tx, row)
    await record(tx, OperationKind.DELETE_BREAKER, row.breaker, caller, rule_id=left)
    return tx, DeletedBreaker(row.breaker, left)
