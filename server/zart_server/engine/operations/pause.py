"""Pause: adds a rule that withholds matching steps from the moment it has committed."""

from __future__ import annotations

from zart_server.domain.commands import Caller, Pause, PauseCounts
from zart_server.domain.errors import PauseRuleNotFound
from zart_server.domain.globs import to_regex
from zart_server.domain.pause_plans import Paused, PauseWarnings
from zart_server.domain.plans import OF_PAUSE
from zart_server.domain.short_ids import short_id
from zart_server.engine.operations.pause_scope import find_mistake, find_warnings
from zart_server.engine.operations.plan_pause import (
    EXACT_TO,
    find_pairs,
    has_expired,
    what_is_decided,
)
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.store.clock import read_clock
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.matching import count_matching
from zart_server.store.pausing.rules import find_rule, insert_rule
from zart_server.store.pausing.work import PauseWork, end_settling


async def pause(
    connection: Autocommit, command: Pause, caller: Caller, within: float
) -> tuple[Tx, Paused]:
    """Add a rule. Once this has committed no matching step is leased, on any server.

    Return also the transaction, which begins with the pause lock, alone: every claim and every
    decision to queue a step is before it, and done, or after it, and sees the rule. Raises
    ScopeMatchesNothing where that is wanted, PlanChanged, InvalidField for a past expiry, and
    OperationTimeout if the pause lock is not had ``within`` these seconds.
    """
    planning, scope = command.planning, command.scope
    expires_at = command.expires_at  # looked at again as the rule is inserted
    if expires_at is not None and expires_at <= await read_clock(connection):
        raise await has_expired(connection, planning, OF_PAUSE)
    if command.must_match:
        mistake = await find_mistake(connection, scope)
        if mistake is not None:
            raise await moved(connection, planning, OF_PAUSE, "matching_steps", mistake)
    pairs = await find_pairs(connection, scope) if planning else ""
    tx = await seize_pause_lock(connection, within)
    if planning:
        await judge_plan(tx, planning, await what_is_decided(tx, scope, pairs))
    pattern = scope.step_pattern
    row = await insert_rule(
        tx,
        short_id("pr"),
        scope,
        None if pattern is None else to_regex(pattern),
        caller=caller,
        expires_at=expires_at,
        expires_in=command.expires_in,
        expiry_rate=command.expiry_rate,
    )
    if row is None:
        raise await has_expired(tx, planning, OF_PAUSE)
    tx.changes.rules = True
    return tx, Paused(row.rule)


async def warn(connection: Autocommit, rule_id: str) -> PauseWarnings:
    """Return what may not be meant by a new rule, after its commit: that it holds comes first."""
    row = await find_rule(connection, rule_id)
    if row is None:
        raise PauseRuleNotFound(rule_id)
    return await find_warnings(connection, row.rule.scope, rule_id)


async def count_paused(connection: Autocommit, rule_id: str) -> PauseCounts:
    """Count the steps that a rule withholds, after its commit: none of them can be leased then.

    A rule that names an execution is settled with it, and so is one that finds nothing queued.
    Only settling needs a transaction, and begins it.
    """
    found = await count_matching(connection, rule_id, EXACT_TO + 1)
    if found is None:
        raise PauseRuleNotFound(rule_id)
    settling = PauseWork(found.rule_key, "settle")
    if found.is_of_execution:
        await settle_rule_of_execution(await connection.begin(), settling)
    elif not found.is_any_queued:
        await end_settling(connection, settling)  # nothing that it matches is queued from now on
    return PauseCounts(min(found.ready, EXACT_TO), found.is_lower_bound, found.running)
