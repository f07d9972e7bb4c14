"""Counts what rules withhold, exact to some number: what leaves with them, and what others keep."""

from __future__ import annotations

from zart_server.engine.operations.plan_pause import EXACT_TO
from zart_server.store.connection import Connection
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.pausing.matching import find_matching


async def count_leaving(connection: Connection, rule_keys: list[int]) -> tuple[int, int]:
    """Count the ready steps that rules withhold: only they, others as well."""
    await refresh_rules(connection)
    leaving = set(rule_keys)
    free = others = 0
    for step in await find_matching(connection, rule_keys, EXACT_TO + 1):
        rules = set(connection.pauses.matching(step))
        if rules.isdisjoint(leaving):
            continue  # they exempt its execution, or have let it go
        if rules <= leaving:
            free += 1
        else:
            others += 1
    return free, others
