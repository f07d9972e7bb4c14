"""Finds the one rule that a call is about, if it has not ended.

Where the call applies a plan, that was of one rule which had not: PlanChanged says so then.
"""

from __future__ import annotations

from zart_server.domain.commands import Resume
from zart_server.domain.errors import PauseRuleNotFound, RuleNotActive, RulesAmbiguous
from zart_server.domain.model import PauseRuleStatus
from zart_server.domain.plans import NO_PLAN, Planning
from zart_server.engine.operations.plan_rules import decided_of
from zart_server.engine.operations.plans import judge_plan
from zart_server.store.connection import Connection
from zart_server.store.pausing.ending import find_active
from zart_server.store.pausing.rules import RuleRow, find_rule

_NAMED = 10


async def only_rule(connection: Connection, command: Resume) -> RuleRow:
    """Return the rule that a pace is of, active or releasing.

    Raises PauseRuleNotFound, RuleNotActive, and RulesAmbiguous unless exactly one rule has the
    scope that is given; PlanChanged instead of these two where a plan is applied.
    """
    if command.rule_id is not None:
        return await living_rule(connection, command.rule_id, command.planning)
    rows = await find_active(connection, command.scope)
    if len(rows) != 1:
        await judge_plan(connection, command.planning, decided_of([row.rule for row in rows]))
        raise RulesAmbiguous([row.rule.rule_id for row in rows[:_NAMED]], len(rows))
    return rows[0]


async def living_rule(
    connection: Connection, rule_id: str, planning: Planning = NO_PLAN
) -> RuleRow:
    """Return a rule, active or releasing; it stays so while the caller holds the pause lock.

    Raises PauseRuleNotFound and RuleNotActive, or PlanChanged where a plan is applied.
    """
    row = await find_rule(connection, rule_id)
    if row is None:
        raise PauseRuleNotFound(rule_id)
    if row.rule.status not in (PauseRuleStatus.ACTIVE, PauseRuleStatus.RELEASING):
        await judge_plan(connection, planning, decided_of([row.rule]))
        raise RuleNotActive(rule_id, row.rule.status)
    return row
