"""UpdatePauseRule: exempts executions from a rule, matches them again, and sets when it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zart_server.domain.commands import Caller, Expiry, UpdatedPauseRule, UpdatePauseRule
from zart_server.domain.errors import (
    InvalidField,
    PauseRuleNotFound,
    RuleNotActive,
    TooManyItems,
)
from zart_server.domain.model import PauseRule, PauseRuleStatus
from zart_server.domain.operations import Made, OperationKind
from zart_server.engine.operations.plan_pause import EXACT_TO
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.matching import find_of_executions
from zart_server.store.pausing.rules import MAX_EXEMPTIONS, RuleRow, find_rule
from zart_server.store.pausing.updating import unknown_executions, update_rule


async def update_pause_rule(
    connection: Autocommit, command: UpdatePauseRule, caller: Caller, within: float
) -> tuple[Tx, UpdatedPauseRule]:
    """Change a rule. Once this has committed no step is leased that it withholds again.

    Return also the transaction, which begins with the pause lock, alone. Pause sweeps queue the
    steps of what is exempt now, and settle what is exempt no longer. Raises PauseRuleNotFound,
    RuleNotActive, TooManyItems, InvalidField for a past expiry, and OperationTimeout if the pause
    lock is not had ``within`` these seconds.
    """
    known = await _active(connection, command.rule_id)
    unknown = await unknown_executions(connection, command.exempt)
    # Counted before the lock is seized, so that counting keeps nobody from leasing.
    exempt = set(known.rule.exempt_execution_ids)
    released, withheld = await _count(
        connection, known.rule_key, set(command.exempt) - exempt, exempt & set(command.unexempt)
    )
    tx = await seize_pause_lock(connection, within)
    known = await _active(tx, command.rule_id)
    exempt = set(known.rule.exempt_execution_ids)
    added = sorted(set(command.exempt) - exempt)
    removed = sorted(exempt & set(command.unexempt))
    count = len(exempt) + len(added) - len(removed)
    if count > MAX_EXEMPTIONS:
        raise TooManyItems("add_exempt_execution_ids", count, MAX_EXEMPTIONS)
    if not await update_rule(tx, known.rule_key, added, removed, command.expiry):
        raise InvalidField("expires_at", "lies in the past")
    tx.changes.rules = True
    rule = (await _active(tx, command.rule_id)).rule
    await _record(tx, caller, rule, added, removed, command.expiry)
    return tx, UpdatedPauseRule(rule, released, withheld, unknown)


async def _active(connection: Connection, rule_id: str) -> RuleRow:
    found = await find_rule(connection, rule_id)
    if found is None:
        raise PauseRuleNotFound(rule_id)
    if found.rule.status is not PauseRuleStatus.ACTIVE:
        raise RuleNotActive(rule_id, found.rule.status)
    return found


async def _count(
    connection: Connection, rule_key: int, added: Collection[str], removed: Collection[str]
) -> tuple[int, int]:
    """Count the ready steps that the rule alone withholds, or is to withhold again."""
    ids = sorted({*added, *removed})
    if not ids:
        return 0, 0
    await refresh_rules(connection)
    released = withheld = 0
    for step in await find_of_executions(connection, rule_key, ids, EXACT_TO):
        execution_id, *_, let_go = step
        if rule_key in let_go or set(connection.pauses.matching(step)) - {rule_key}:
            continue
        if execution_id in removed:
            withheld += 1
        else:
            released += 1
    return released, withheld


async def _record(
    tx: Tx,
    caller: Caller,
    rule: PauseRule,
    added: Sequence[str],
    removed: Sequence[str],
    expiry: Expiry | None,
) -> None:
    """Record the change: whom it concerns can be found by the execution."""
    made = [(execution_id, Made(is_exempt=True)) for execution_id in added]
    made += [(execution_id, Made(is_exempt=False)) for execution_id in removed]
    if expiry is not None or not made:
        end = None if expiry is None else rule.expires_at
        made.append((rule.scope.execution_id or "", Made(expires_at=end)))
    operations = [
        NewOperation(
            caller,
            execution_id=execution_id,
            rule_id=rule.rule_id,
            task_name=rule.scope.task_name or "",
            made=what,
        )
        for execution_id, what in made
    ]
    await record_operations(tx, OperationKind.UPDATE_PAUSE_RULE, operations)
