"""Settles what a rule withholds of one execution: its few queued tasks are set aside at once."""

from __future__ import annotations

from zart_server.store.connection import Tx
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.settling import settle_execution
from zart_server.store.pausing.work import PauseWork, end_settling


async def settle_rule_of_execution(tx: Tx, work: PauseWork) -> None:
    """Move the queued tasks aside that a rule withholds of one execution: few, so all at once.

    Takes the pause lock, shared, then the queued tasks, as far as no other transaction has locked
    them. The rule goes on settling if any was left.
    """
    await share_pause_lock(tx)
    if not await settle_execution(tx, work):
        await end_settling(tx, work)
