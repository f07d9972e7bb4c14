"""A breaker closes, and its rule ends."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.store.breaking.rows import BreakerRow
from zart_server.store.connection import Tx
from zart_server.store.pausing.ending import delete_rules


async def close_breaker(tx: Tx, row: BreakerRow, caller: Caller) -> None:
    """Close a breaker that is not closed: the end of its rule does, on record.

    The caller has locked it, and holds the pause lock exclusively.
    """
    await delete_rules(tx, row.breaker.rule_id, PauseScope(), caller)
    tx.changes.rules = True
