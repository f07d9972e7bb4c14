"""CreateBreaker: adds a breaker that counts from then on."""

from __future__ import annotations

from zart_server.domain.breakers import Breaker, CreateBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BreakerNotFound
from zart_server.domain.operations import OperationKind
from zart_server.domain.short_ids import short_id
from zart_server.store.breaking.rows import find_breaker, insert_breaker, record
from zart_server.store.connection import Tx


async def create_breaker(tx: Tx, command: CreateBreaker, caller: Caller) -> Breaker:
    """Add a breaker, closed."""
    breaker_id = short_id("br")
    await insert_breaker(tx, breaker_id, command.settings, caller)
    made = await find_breaker(tx, breaker_id)
    if made is None:
        raise BreakerNotFound(breaker_id)
    tx.changes.breakers = True
    await record(tx, OperationKind.CREATE_BREAKER, made.breaker, caller)
    return made.breaker
