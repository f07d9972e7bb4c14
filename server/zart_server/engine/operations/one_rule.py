"""Finds the one rule that a call is about, if it has not ended."""

from __future__ import annotations

from zart_server.domain.commands import Resume
from zart_server.domain.errors import PauseRuleNotFound, RuleNotActive, RulesAmbiguous
from zart_server.domain.model import PauseRuleStatus
from zart_server.store.connection import Connection
from zart_server.store.pausing.ending import find_active
from zart_server.store.pausing.rules import RuleRow, find_rule

_NAMED = 10


async def only_rule(connection: Connection, command: Resume) -> RuleRow:
    """Return the rule that a pace is of, active or releasing.

    Raises PauseRuleNotFound, RuleNotActive, and RulesAmbiguous unless exactly one rule has the
    scope that is given.
    """
    if command.rule_id is not None:
        return await living_rule(connection, command.rule_id)
    rows = await find_active(connection, command.scope)
    if len(rows) != 1:
        raise RulesAmbiguous([row.rule.rule_id for row in rows[:_NAMED]], len(rows))
    return rows[0]


async def living_rule(connection: Connection, rule_id: str) -> RuleRow:
    """Return a rule, active or releasing; it stays so while the caller holds the pause lock.

    Raises PauseRuleNotFound and RuleNotActive.
    """
    row = await find_rule(connection, rule_id)
    if row is None:
        raise PauseRuleNotFound(rule_id)
    if row.rule.status not in (PauseRuleStatus.ACTIVE, PauseRuleStatus.RELEASING):
        raise RuleNotActive(rule_id, row.rule.status)
    return row
