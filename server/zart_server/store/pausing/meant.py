"""Reads the rules that a Resume means."""

from __future__ import annotations

from zart_server.domain.model import PauseScope
from zart_server.store.connection import Connection
from zart_server.store.pausing.ending import active_rule_keys
from zart_server.store.pausing.rules import RuleRow, rule_columns


async def rules_meant(
    connection: Connection, rule_id: str | None, scope: PauseScope
) -> list[RuleRow]:
    """Return the rules that ``delete_rules`` would delete, oldest first."""
    keys = await active_rule_keys(connection, rule_id, scope)
    if not keys:
        return []
    rows = await connection.fetch(
        f"SELECT {rule_columns('p')} FROM zart.pause_rules p"
        " WHERE rule_key = ANY($1::bigint[]) ORDER BY rule_key",
        keys,
    )
    return [RuleRow.from_row(row) for row in rows]
