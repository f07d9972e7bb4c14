"""UpdatePauseRule: exempts executions from a rule, matches them again, and sets when it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from zart_server.domain.commands import Caller, Expiry, UpdatedPauseRule, UpdatePauseRule
from zart_server.domain.errors import RuleReleasing, TooManyItems
from zart_server.domain.model import PauseRule, PauseRuleStatus
from zart_server.domain.operations import Made, OperationKind
from zart_server.domain.plans import OF_RULES
from zart_server.domain.rule_set import StepNames
from zart_server.engine.operations.counts import counted_now
from zart_server.engine.operations.one_rule import living_rule
from zart_server.engine.operations.plan_pause import EXACT_TO, has_expired
from zart_server.engine.operations.plan_rules import decided_of
from zart_server.engine.operations.plans import judge_plan
from zart_server.store.clock import read_clock
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.operations import NewOperation, record_operations
from zart_server.store.pausing.judging import ask_of_each, refresh_rules
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.matching import find_of_executions
from zart_server.store.pausing.rules import MAX_EXEMPTIONS, RuleRow
from zart_server.store.pausing.updating import unknown_executions, update_rule


async def update_pause_rule(
    connection: Autocommit, command: UpdatePauseRule, caller: Caller, within: float
) -> tuple[Tx, UpdatedPauseRule]:
    """Change a rule. Once this has committed no step is leased that it withholds again.

    Return also the transaction, which begins with the pause lock, alone. Pause sweeps queue the
    steps of what is exempt now, and settle what is exempt no longer. Raises PauseRuleNotFound,
    RuleNotActive, PlanChanged, TooManyItems, RuleReleasing and InvalidField for an expiry, and
    OperationTimeout if the pause lock is not had ``within`` these seconds.
    """
    # Looked at again as the rule is changed.
    await _refuse_past(connection, command, await read_clock(connection))
    known = await living_rule(connection, command.rule_id, command.planning)
    unknown = await unknown_executions(connection, command.exempt)
    # Counted before the lock is seized, so that counting keeps nobody from leasing.
    released, withheld = await _count(connection, known.rule_key, *_changes(known, command))
    tx = await seize_pause_lock(connection, within)
    known = await living_rule(tx, command.rule_id, command.planning)
    if command.planning:
        await judge_plan(tx, command.planning, decided_of([known.rule]))
    _check_expiry(known, command)
    added, removed = _changes(known, command)
    _check_room(known, added, removed)
    if not await update_rule(tx, known.rule_key, added, removed, command.expiry):
        raise await has_expired(tx, command.planning, OF_RULES)
    tx.changes.rules = True
    rule = (await living_rule(tx, command.rule_id)).rule
    await _record(tx, caller, rule, added, removed, command.expiry)
    return tx, UpdatedPauseRule(rule, released, withheld, unknown)


async def plan_update(
    connection: Autocommit, command: UpdatePauseRule, _caller: Caller
) -> UpdatedPauseRule:
    """Return what ``update_pause_rule`` would do: it reads, and takes no lock. Raises as that."""
    now = await read_clock(connection)
    await _refuse_past(connection, command, now)
    known = await living_rule(connection, command.rule_id, command.planning)
    token = await judge_plan(connection, command.planning, decided_of([known.rule]))
    _check_expiry(known, command)
    added, removed = _changes(known, command)
    _check_room(known, added, removed)
    expires_at, expiry = known.rule.expires_at, command.expiry
    if expiry is not None:
        expires_at = expiry.at if expiry.after is None else now + expiry.after
    exempt = sorted({*known.rule.exempt_execution_ids, *added} - {*removed})
    (rule,) = await counted_now(connection, [known])  # as of now: what it withholds changes by that
    rule = replace(rule, exempt_execution_ids=tuple(exempt), expires_at=expires_at)
    unknown = await unknown_executions(connection, command.exempt)
    released, withheld = await _count(connection, known.rule_key, added, removed)
    return UpdatedPauseRule(rule, released, withheld, unknown, token)


async def _refuse_past(connection: Connection, command: UpdatePauseRule, now: datetime) -> None:
    """Refuse an expiry that has come before whatever else is wrong: it is an argument."""
    at = None if command.expiry is None else command.expiry.at
    if at is not None and at <= now:
        raise await has_expired(connection, command.planning, OF_RULES)


def _changes(known: RuleRow, command: UpdatePauseRule) -> tuple[list[str], list[str]]:
    """Return the executions that the rule is to exempt anew, and no longer."""
    exempt = set(known.rule.exempt_execution_ids)
    return sorted(set(command.exempt) - exempt), sorted(exempt & set(command.unexempt))


def _check_room(known: RuleRow, added: Sequence[str], removed: Sequence[str]) -> None:
    count = len(known.rule.exempt_execution_ids) + len(added) - len(removed)
    if count > MAX_EXEMPTIONS:
        raise TooManyItems("add_exempt_execution_ids", count, MAX_EXEMPTIONS)


def _check_expiry(known: RuleRow, command: UpdatePauseRule) -> None:
    if command.expiry is not None and known.rule.status is PauseRuleStatus.RELEASING:
        raise RuleReleasing(command.rule_id)


async def _count(
    connection: Connection, rule_key: int, added: Collection[str], removed: Collection[str]
) -> tuple[int, int]:
    """Count the ready steps that the rule alone withholds, or is to withhold again."""
    ids = sorted({*added, *removed})
    if not ids:
        return 0, 0
    await refresh_rules(connection)

    def is_its_alone(step: StepNames) -> bool:
        *_, let_go = step
        return rule_key not in let_go and not set(connection.pauses.matching(step)) - {rule_key}

    steps = await find_of_executions(connection, rule_key, ids, EXACT_TO)
    are_its_alone = await ask_of_each(connection, steps, is_its_alone)
    of = [step[0] for step, is_its in zip(steps, are_its_alone, strict=True) if is_its]
    withheld = sum(map(set(removed).__contains__, of))
    return len(of) - withheld, withheld


async def _record(
    tx: Tx,
    caller: Caller,
    rule: PauseRule,
    added: Sequence[str],
    removed: Sequence[str],
    expiry: Expiry | None,
) -> None:
    """Record the change: whom it concerns can be found by the execution.

    It belongs to the caller's incident; where none is given, to the rule's.
    """
    caller = replace(caller, incident=caller.incident or rule.incident)
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
