"""Counts what rules withhold, exact to some number: what leaves with them, and what others keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.model import PauseRule
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.plan_pause import EXACT_TO
from zart_server.store.connection import Connection
from zart_server.store.pausing.counting import in_flight, with_counts, withheld_steps
from zart_server.store.pausing.judging import ask_of_each, refresh_rules
from zart_server.store.pausing.matching import find_matching
from zart_server.store.pausing.rules import RuleRow, active_of


class Leaving(NamedTuple):
    """How many ready steps some rules alone withhold (``free``), and how many ``others`` do, too.

    ``is_lower_bound``: they withhold more than ``EXACT_TO``, of which any so many were looked at;
    or, ``is_look_cut``, so much else shares the lanes of what they match that not all was looked
    at. Either number may be larger.
    """

    free: int
    others: int
    is_lower_bound: bool
    is_look_cut: bool = False


async def count_leaving(connection: Connection, rule_keys: list[int]) -> Leaving:
    """Count the ready steps that rules withhold, exact to ``EXACT_TO`` of them all."""
    if not rule_keys:
        return Leaving(0, 0, is_lower_bound=False)
    await refresh_rules(connection)
    leaving = set(rule_keys)

    def is_free(step: StepNames) -> bool | None:
        rules = set(connection.pauses.matching(step))
        if rules.isdisjoint(leaving):
            return None  # they do no longer
        return rules <= leaving

    steps, is_look_cut = await find_matching(connection, rule_keys, EXACT_TO + 1)
    found = await ask_of_each(connection, steps, is_free)
    # Whether the look was cut is known by what it found, of which some may be left out since.
    free, others = (min(found.count(is_alone), EXACT_TO) for is_alone in (True, False))
    return Leaving(free, others, is_look_cut or len(steps) > EXACT_TO, is_look_cut)


async def counted_now(connection: Connection, rows: Sequence[RuleRow]) -> list[PauseRule]:
    """Return rules with what they withhold now, and what of it is in flight; locks nothing."""
    keys = active_of(rows)
    withheld = await withheld_steps(connection, keys)
    flying = {one.rule_key: one for one in await in_flight(connection, keys)} if keys else {}
    return [with_counts(row, withheld.get(row.rule_key), flying.get(row.rule_key)) for row in rows]
