"""A breaker closes, and its rule ends: at once, or at a pace."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.domain.operations import OperationKind
from zart_server.store.breaking.rows import BreakerRow, record
from zart_server.store.breaking.states import close_before_its_rule
from zart_server.store.connection import Tx
from zart_server.store.pausing.ending import delete_rules
from zart_server.store.pausing.releases import begin_release, begun_release


async def close_breaker(tx: Tx, row: BreakerRow, caller: Caller) -> None:
    """Close a breaker that is not closed, on record: it counts from now on.

    Its rule ends, at its rate if it has one; if somebody lets it go at a pace already, at that. So
    it goes on as an ordinary rule: a breaker that opens again makes another one. The caller has
    locked the breaker, and holds the pause lock exclusively.
    """
    rate, rule_key = row.breaker.settings.rate_per_second, row.rule_key
    is_releasing = rule_key is not None and await begun_release(tx, rule_key) is not None
    if rule_key is None or (rate is None and not is_releasing):
        # The end of its rule closes it, on record.
        await delete_rules(tx, row.breaker.rule_id, PauseScope(), caller)
    else:
        if rate is not None and not is_releasing:
            await begin_release(tx, rule_key, rate, caller)
        await close_before_its_rule(tx, row.breaker_key, caller)
        await record(tx, OperationKind.BREAKER_CLOSED, row.breaker, caller)
    tx.changes.rules = True
