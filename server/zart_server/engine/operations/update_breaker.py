"""UpdateBreaker: changes what a breaker counts and does, never its state."""

from __future__ import annotations

from zart_server.domain.breakers import Breaker, UpdateBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BreakerNotFound
from zart_server.domain.operations import OperationKind
from zart_server.store.breaking.rows import find_breaker, lock_breaker, record, update_settings
from zart_server.store.connection import Tx


async def update_breaker(tx: Tx, command: UpdateBreaker, caller: Caller) -> Breaker:
    """Change the settings that are named; the rule of a breaker that is not closed stays.

    Raises BreakerNotFound, and InvalidField where neither a task nor a step would be named.
    """
    row = await lock_breaker(tx, command.breaker_id)
    if row is None:
        raise BreakerNotFound(command.breaker_id)
    before = row.breaker.settings
    settings = before.changed(command.settings, command.changed)
    await update_settings(tx, row.breaker_key, settings, anew=not settings.counts_as(before))
    changed = await find_breaker(tx, command.breaker_id)
    if changed is None:
        raise BreakerNotFound(command.breaker_id)
    await record(tx, OperationKind.UPDATE_BREAKER, changed.breaker, caller)
    return changed.breaker
