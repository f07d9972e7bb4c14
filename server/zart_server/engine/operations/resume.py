"""Resume: deletes rules softly; a sweep then queues what they withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zart_server.domain.commands import Caller, Resume, Resumed
from zart_server.domain.errors import PauseRuleNotFound
from zart_server.domain.model import PauseRule
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.canary import release_canary
from zart_server.engine.operations.counts import Leaving, count_leaving, counted_now
from zart_server.engine.operations.plan_rules import decided_of
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.release import plan_pace, release_at_rate
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.operations import record_deleted_rules
from zart_server.store.pausing.ending import (
    active_rule_keys,
    delete_rules,
    find_active,
)
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.meant import rules_meant
from zart_server.store.pausing.rules import LISTED_EXEMPTIONS, RuleRow, find_rule
from zart_server.store.standby import reach_standby


async def resume(
    connection: Autocommit, command: Resume, caller: Caller, within: float
) -> tuple[Tx, Resumed]:
    """Delete the rules meant, one or those whose own fields equal every field given.

    Return also the transaction. Pause sweeps queue their steps after its commit. Rules that are
    releasing are deleted only if they are named. With a pace see ``release_at_rate`` and
    ``release_canary``. Raises PauseRuleNotFound, PlanChanged, and OperationTimeout if the pause
    lock is not had ``within`` these seconds.
    """
    if command.canary is not None:
        return await release_canary(connection, command, caller)
    if command.rate_per_second is not None:
        return await release_at_rate(connection, command, caller, within)
    known = await _known(connection, command)
    # Counted before the lock is seized, so that counting keeps nobody from leasing.
    keys = await active_rule_keys(connection, command.rule_id, command.scope)
    leaving = await count_leaving(connection, keys)
    tx = await seize_pause_lock(connection, within)
    if command.planning:
        meant = await rules_meant(tx, command.rule_id, command.scope)
        await judge_plan(tx, command.planning, decided_of([row.rule for row in meant]))
    over = [] if command.rule_id else await find_active(tx, command.scope, releasing=True)
    deleted = await delete_rules(tx, command.rule_id, command.scope, caller)
    rules = [row.rule for row in deleted]
    await record_deleted_rules(tx, OperationKind.RESUME, caller, rules)
    tx.changes.rules = tx.changes.rules or bool(deleted)
    if not deleted:
        await reach_standby(tx)
    return tx, _resumed(deleted, known, over, leaving)


async def plan_resume(connection: Autocommit, command: Resume, _caller: Caller) -> Resumed:
    """Return what ``resume`` would do: it reads, and takes no lock. Raises as that."""
    if command.canary is not None or command.rate_per_second is not None:
        return await plan_pace(connection, command)
    known = await _known(connection, command)
    meant = await rules_meant(connection, command.rule_id, command.scope)
    decisions = decided_of([row.rule for row in meant])
    token = await judge_plan(connection, command.planning, decisions)
    keys = [row.rule_key for row in meant]
    leaving = await count_leaving(connection, keys)
    over = [] if command.rule_id else await find_active(connection, command.scope, releasing=True)
    would = _resumed(meant, known, over, leaving)
    rules = await counted_now(connection, meant) or would.rules
    if command.rule_id is None:
        rules = [_as_listed(rule) for rule in rules]
    return replace(would, rules=tuple(rules), plan_token=token)


def _as_listed(rule: PauseRule) -> PauseRule:
    return replace(rule, exempt_execution_ids=rule.exempt_execution_ids[:LISTED_EXEMPTIONS])


async def _known(connection: Connection, command: Resume) -> RuleRow | None:
    """Return the rule that is named, deleted or not."""
    if command.rule_id is None:
        return None
    known = await find_rule(connection, command.rule_id)
    if known is None:
        raise PauseRuleNotFound(command.rule_id)
    return known


def _resumed(
    deleted: Sequence[RuleRow],
    known: RuleRow | None,
    passed_over: Sequence[RuleRow],
    leaving: Leaving,
) -> Resumed:
    rules = [row.rule for row in deleted] or ([known.rule] if known is not None else [])
    return Resumed(
        rules_deleted=len(deleted),
        rules=tuple(rules),
        released_steps=leaving.free,
        is_lower_bound=leaving.is_lower_bound,
        still_paused_steps=leaving.others,
        still_releasing_rules=tuple(row.rule.rule_id for row in passed_over),
    )
