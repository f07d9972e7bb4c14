"""Counts what rules withhold, exact to some number: what leaves with them, and what others keep."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.model import PauseRule
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.plan_pause import EXACT_TO
from zart_server.store.connection import Connection
from zart_server.store.pausing.counting import in_flight, with_counts, withheld_steps
from zart_server.store.pausing.judging import ask_of_each, refresh_rules
from zart_server.store.pausing.matching import find_matching
from zart_server.store.pausing.rules import RuleRow, active_of


async def count_leaving(connection: Connection, rule_keys: list[int]) -> tuple[int, int]:
    """Count the ready steps that rules withhold: only they, others as well."""
    await refresh_rules(connection)
    leaving = set(rule_keys)

    def is_free(step: StepNames) -> bool | None:
        rules = set(connection.pauses.matching(step))
        if rules.isdisjoint(leaving):
            return None  # they exempt its execution, or have let it go
        return rules <= leaving

    steps = await find_matching(connection, rule_keys, EXACT_TO + 1)
    found = await ask_of_each(connection, steps, is_free)
    return found.count(True), found.count(False)


async def counted_now(connection: Connection, rows: Sequence[RuleRow]) -> list[PauseRule]:
    """Return rules with what they withhold now, and what of it is in flight; locks nothing."""
    keys = active_of(rows)
    withheld = await withheld_steps(connection, keys)
    flying = {one.rule_key: one for one in await in_flight(connection, keys)} if keys else {}
    return [with_counts(row, withheld.get(row.rule_key), flying.get(row.rule_key)) for row in rows]
