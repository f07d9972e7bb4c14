"""Reads the active pause rules, or what changed of them, each with the executions it exempts."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg

from zart_server.domain.rule_set import ActiveRule
from zart_server.store.caches.pause_rules import ChangedRules
from zart_server.store.connection import Connection
from zart_server.store.pausing.rules import scope_of

_MAX_CHANGES = 1000  # so many changed rules are read; if there are more, all active rules
_RULE = """rule_key, execution_id, task_name, step_pattern, everything, ARRAY(
    SELECT x.execution_id FROM zart.pause_exemptions x
    WHERE x.rule_key = p.rule_key AND x.token_until IS NULL) AS exempt"""


async def read_active(connection: Connection) -> tuple[int, Iterator[ActiveRule]]:
    """Return the epoch, the number of changes of the rules, and the active rules.

    Those are made as they are gone through: where there are many, that takes a while.
    """
    rows = await connection.fetch(
        f"SELECT e.epoch AS now, {_RULE} FROM zart.pause_epoch e"
        " LEFT JOIN zart.pause_rules p ON deleted_at IS NULL ORDER BY rule_key"
    )
    active = (_active(row) for row in rows if row["rule_key"] is not None)
    return rows[0]["now"], active


async def read_changed(connection: Connection, since: int) -> ChangedRules | None:
    """Return the rules that changed after the epoch ``since``; None if they are too many."""
    rows = await connection.fetch(
        f"""
        SELECT e.epoch AS now, r.* FROM zart.pause_epoch e LEFT JOIN LATERAL (
            SELECT {_RULE}, deleted_at IS NOT NULL AS is_deleted FROM zart.pause_rules p
            WHERE epoch > $1 ORDER BY epoch LIMIT {_MAX_CHANGES}) r ON true
        """,
        since,
    )
    if len(rows) == _MAX_CHANGES:
        return None
    changed = [row for row in rows if row["rule_key"] is not None]
    return ChangedRules(
        rows[0]["now"],
        [_active(row) for row in changed if not row["is_deleted"]],
        [row["rule_key"] for row in changed if row["is_deleted"]],
    )


def _active(row: asyncpg.Record) -> ActiveRule:
    return ActiveRule(row["rule_key"], scope_of(row), row["exempt"])
