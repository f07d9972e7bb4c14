"""A rule ends slowly: its steps are released at a pace, until it withholds none or is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from zart_server.domain.commands import Caller, Resume, Resumed
from zart_server.domain.errors import NothingPaused, RuleNotReleasing, RuleReleasing
from zart_server.domain.model import PauseRule, PauseRuleStatus, PauseScope
from zart_server.domain.operations import Made, OperationKind, Replaced
from zart_server.domain.pacing import StopRelease
from zart_server.engine.operations.canary_line import count_canaries
from zart_server.engine.operations.counts import count_leaving, counted_now
from zart_server.engine.operations.one_rule import living_rule, only_rule
from zart_server.engine.operations.plan_rules import decided_of
from zart_server.engine.operations.plans import judge_plan
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.operations import record_deleted_rules
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.ending import delete_rules
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.releases import (
    BegunRelease,
    begin_release,
    begun_release,
    change_rate,
    has_line,
    is_any_put_back,
    is_settled,
    stop_release,
    withholds_any,
)

_END_WAIT = 2.0  # seconds; then it is tried again
# Longer than a transaction may last: what becomes ready in one can run since its statement began.
_LATE = timedelta(seconds=65)


async def release_at_rate(
    connection: Autocommit, command: Resume, caller: Caller, within: float
) -> tuple[Tx, Resumed]:
    """Have one rule let its steps go at a rate, or give its release another rate.

    Return also the transaction. Release sweeps do it from its commit on, once the rule is settled.
    Raises PauseRuleNotFound, RuleNotActive, RulesAmbiguous, PlanChanged, and OperationTimeout if
    the pause lock is not had ``within`` these seconds.
    """
    row = await only_rule(connection, command)
    # Counted before the lock is seized, so that counting keeps nobody from leasing.
    leaving = await count_leaving(connection, [row.rule_key])
    (counted,) = await counted_now(connection, [row])
    tx = await seize_pause_lock(connection, within)
    now = await living_rule(tx, row.rule.rule_id, command.planning)
    if command.planning:
        await judge_plan(tx, command.planning, decided_of([now.rule]))
    rate = command.rate_per_second or 0.0
    if not await change_rate(tx, row.rule_key, rate):
        await begin_release(tx, row.rule_key, rate, caller)
    rule = replace(await _changed(tx, row.rule.rule_id), counts=counted.counts)
    before = 0.0 if now.rule.release is None else now.rule.release.rate_per_second
    await record_deleted_rules(
        tx,
        OperationKind.RESUME,
        caller,
        [rule],
        made=Made(rate_per_second=rate),
        replaced=Replaced(rate_per_second=before),
    )
    return tx, Resumed(
        rules_deleted=0,
        rules=(rule,),
        released_steps=leaving.free,
        is_lower_bound=leaving.is_lower_bound,
        still_paused_steps=leaving.others,
    )


async def plan_pace(connection: Autocommit, command: Resume) -> Resumed:
    """Return what ``release_at_rate`` or a canary would do: it reads, and takes no lock.

    Raises as those, but for what is locked by others at their moment.
    """
    row = await only_rule(connection, command)
    token = await judge_plan(connection, command.planning, decided_of([row.rule]))
    if command.canary is None:
        released, others, is_lower_bound, _ = await count_leaving(connection, [row.rule_key])
        cut_at = None
    else:
        released, others, cut_at = await count_canaries(connection, row.rule_key, command.canary)
        is_lower_bound = False
    if command.canary is not None and row.rule.status is PauseRuleStatus.RELEASING:
        raise RuleReleasing(row.rule.rule_id)
    if command.canary is not None and not released:
        raise NothingPaused(row.rule.rule_id, cut_at)
    return Resumed(
        rules_deleted=0,
        rules=tuple(await counted_now(connection, [row])),
        released_steps=released,
        is_lower_bound=is_lower_bound,
        still_paused_steps=others,
        plan_token=token,
    )


async def stop(
    connection: Autocommit, command: StopRelease, caller: Caller, within: float
) -> tuple[Tx, PauseRule]:
    """Have a releasing rule withhold again all that it matches and nobody has leased.

    Once this has committed none of that is leased, on any server, what was queued included: a claim
    is before it, and done, or after it, and passes over what is taken back. Return also the
    transaction. Raises PauseRuleNotFound, RuleNotActive, RuleNotReleasing and OperationTimeout.
    """
    await living_rule(connection, command.rule_id)
    tx = await seize_pause_lock(connection, within)
    row = await living_rule(tx, command.rule_id)
    if not await stop_release(tx, row.rule_key):
        raise RuleNotReleasing(command.rule_id)
    await undrain(tx, row.rule_key)
    rule = await _changed(tx, command.rule_id)
    made = _let_go([row.rule])
    await record_deleted_rules(tx, OperationKind.STOP_RELEASE, caller, [rule], made=made)
    return tx, rule


def _let_go(rules: Sequence[PauseRule]) -> Made:
    """Return for the record how many steps the releases of rules have let go."""
    releases = [rule.release for rule in rules if rule.release is not None]
    return Made(released_steps=sum(release.released_steps for release in releases))


async def _changed(tx: Tx, rule_id: str) -> PauseRule:
    tx.changes.rules = True
    return (await living_rule(tx, rule_id)).rule


async def end_release(connection: Autocommit, rule_key: int) -> bool:
    """Delete a releasing rule that withholds no paused step, in a transaction; return if it did.

    Steps that are attributed to other rules count: it goes on until those have let them go. So do
    those that are still to be settled. It is deleted by whoever began the release. Raises
    OperationTimeout.

    The whole line is looked at before the lock is seized, under which nobody can lease: while a
    snapshot is open that reads all that the release has let go.
    """
    seen = await _seen_over(connection, rule_key)
    if seen is None:
        return False
    return await _end(await seize_pause_lock(connection, _END_WAIT), rule_key, seen)


async def _seen_over(connection: Connection, rule_key: int) -> BegunRelease | None:
    """Return a release whose rule withholds no paused step, and has none to be settled."""
    begun = await begun_release(connection, rule_key)
    if begun is None or not await is_settled(connection, rule_key):
        return None
    if await withholds_any(connection, rule_key) or await has_line(connection, rule_key):
        return None
    return begun


async def _end(tx: Tx, rule_key: int, seen: BegunRelease) -> bool:
    """Delete a rule whose release was seen to be over, if it still is; return if it did.

    The caller holds the pause lock exclusively.
    """
    begun = await begun_release(tx, rule_key)
    if begun is None or not _is_as_seen(begun, seen):
        return False
    # What became ready since is in the rule's line, or in that of a rule that goes on, and can run
    # since then. Older steps come into its line where it matches more than it did, or took back
    # what it had let go: then it is not as it was seen; and where they were given back unbegun,
    # which keep their place. What is to be settled is in none yet.
    since = seen.now - _LATE
    if await has_line(tx, rule_key, since) or not await is_settled(tx, rule_key):
        return False
    if await is_any_put_back(tx, rule_key, since):
        return False
    deleted = await delete_rules(tx, begun.rule_id, PauseScope(), begun.caller)
    rules = [row.rule for row in deleted]
    kind, made = OperationKind.RELEASE_END, _let_go(rules)
    await record_deleted_rules(tx, kind, begun.caller, rules, made=made)
    tx.changes.rules = True
    return True


def _is_as_seen(begun: BegunRelease, seen: BegunRelease) -> bool:
    """Return whether it is the same release of the same rule, by a clock that did not go back."""
    same = (begun.started_at, begun.rule_epoch) == (seen.started_at, seen.rule_epoch)
    return same and begun.now >= seen.now
