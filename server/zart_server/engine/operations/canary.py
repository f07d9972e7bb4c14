"""A canary: a rule lets its oldest steps go, so many, and withholds the others as before."""

from __future__ import annotations

from dataclasses import replace

from zart_server.domain.commands import Caller, Resume, Resumed
from zart_server.domain.errors import NothingPaused, RuleReleasing, StoreConflict
from zart_server.domain.model import PauseRuleStatus
from zart_server.domain.operations import Made, OperationKind
from zart_server.engine.operations.canary_line import (
    count_canaries,
    let_canaries_go,
    lock_canaries,
    read_rates,
)
from zart_server.engine.operations.counts import counted_now
from zart_server.engine.operations.let_go import LetGo
from zart_server.engine.operations.one_rule import living_rule, only_rule
from zart_server.engine.operations.plan_rules import decided_of
from zart_server.engine.operations.plans import judge_plan
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.operations import record_deleted_rules
from zart_server.store.pausing.letting_go import promise_canary
from zart_server.store.pausing.releases import is_settled
from zart_server.store.pausing.rules import share_pause_lock


async def release_canary(
    connection: Autocommit, command: Resume, caller: Caller
) -> tuple[Tx, Resumed]:
    """Let the oldest steps of one rule go, at most ``canary``, and return the transaction.

    Not those that another rule withholds, too, unless that is releasing: of such it passes over
    10,000 at most.

    A rule that is settling does so once it is settled. Locks runs, those that nobody else has
    locked, and the pause lock, shared. Raises PauseRuleNotFound, RuleNotActive, RuleReleasing,
    RulesAmbiguous, NothingPaused, PlanChanged, and StoreConflict if others change all its steps, or
    if the rules changed, or the rule was settled, while its steps were looked for.
    """
    wanted = command.canary or 0
    row = await only_rule(connection, command)
    rule_key = row.rule_key
    # Counted before anything is locked, as of a plan.
    planned = await count_canaries(connection, rule_key, wanted)
    (counted,) = await counted_now(connection, [row])
    tx = await connection.begin()
    was_settled = await is_settled(tx, rule_key)
    line = await lock_canaries(tx, rule_key, wanted, await read_rates(tx))
    await share_pause_lock(tx)
    rule = (await living_rule(tx, row.rule.rule_id, command.planning)).rule
    if command.planning:
        await judge_plan(tx, command.planning, decided_of([rule]))
    if rule.status is PauseRuleStatus.RELEASING:
        raise RuleReleasing(rule.rule_id)
    if await is_settled(tx, rule_key):
        # Where it has become so only now, its line was read before all of it was there.
        if not was_settled or (line.is_any and not line.found):
            raise StoreConflict
        gone = await let_canaries_go(tx, rule_key, line, wanted)
        if gone.released < line.found:  # by rules that are others by now
            raise StoreConflict
        released, cut_at = gone.released, line.cut_at
    else:
        gone = LetGo(0, 0)
        released, cut_at = planned.going, planned.cut_at
        await promise_canary(tx, rule_key, released)
    if not released:
        raise NothingPaused(rule.rule_id, cut_at)
    made = Made(canary=wanted, released_steps=released)
    await record_deleted_rules(tx, OperationKind.RESUME, caller, [rule], made=made)
    left = max(0, counted.counts.paused - (gone.released + gone.handed_over))
    rule = replace(rule, counts=replace(counted.counts, paused=left))
    still = planned.others
    return tx, Resumed(0, (rule,), released, is_lower_bound=False, still_paused_steps=still)
