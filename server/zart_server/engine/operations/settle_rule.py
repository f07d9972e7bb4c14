"""Settles a rule that names an execution: its few queued tasks are set aside at once."""

from __future__ import annotations

from zart_server.store.db import Tx
from zart_server.store.pausing.rules import end_settling, share_pause_lock
from zart_server.store.pausing.settling import settle_execution


async def settle_rule_of_execution(tx: Tx, rule_key: int) -> None:
    """Hold what a rule that names an execution matches; few tasks, so at once."""
    await share_pause_lock(tx)
    if not await settle_execution(tx, rule_key):
        await end_settling(tx, rule_key)
