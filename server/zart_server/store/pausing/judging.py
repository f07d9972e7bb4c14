"""Judges steps by the pause rules, and writes by that judgement if the rules are still those.

The only place that repeats what was judged: see ``write_judged``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from zart_server.domain.errors import PauseRulesChanged
from zart_server.domain.rule_set import ActiveRule, Judgement, RuleSet, StepNames
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.active import read_active, read_changed
from zart_server.store.pausing.rules import share_pause_lock

T = TypeVar("T")
_AT_ONCE = 500  # rules


async def refresh_rules(connection: Connection) -> None:
    """Bring the rules at hand to the newest epoch; several transactions may do so at once."""
    since = connection.pauses.since
    changed = None if since is None else await read_changed(connection, since)
    if changed is None:
        epoch, active = await read_active(connection)
        connection.pauses.replace(epoch, await _rule_set(active))
    else:
        connection.pauses.change(changed)


async def _rule_set(active: Iterable[ActiveRule]) -> RuleSet:
    """Gather rules, and let others go on meanwhile: thousands of patterns take a while to read."""
    rules = RuleSet()
    for number, rule in enumerate(active, 1):
        rules.put(*rule)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return rules


async def judge(connection: Connection, steps: Iterable[StepNames]) -> Judgement:
    """Judge steps by the rules that this server knows, for a statement that is tried once."""
    if connection.pauses.since is None:
        await refresh_rules(connection)
    return connection.pauses.judge(steps)


async def judge_to_the_end(tx: Tx, steps: Iterable[StepNames]) -> Judgement:
    """Judge steps by rules that stay until the transaction ends.

    Takes the pause lock, shared, and so is for after the last row lock.
    """
    await share_pause_lock(tx)
    await refresh_rules(tx)
    return tx.pauses.judge(steps)


async def write_judged(
    tx: Tx, steps: Iterable[StepNames], write: Callable[[Judgement], Awaitable[T | None]]
) -> tuple[Judgement, T]:
    """Judge steps, and write by that; if the rules had changed, do both once more.

    ``write`` runs a statement that compares epochs under the pause lock, shared, which it takes if
    the transaction does not hold it yet. It returns None, having done nothing, if the judgement's
    epoch is another. From then on the transaction holds the lock, which every change of the rules
    takes exclusively: the epoch that is read next is the one that the second ``write`` finds.

    Raises PauseRulesChanged if it is not. Then somebody changed the rules without the lock, or what
    this server knows is ahead of the database, as where a failover lost a rule. A third time would
    cure neither, a new transaction may.

    ``steps`` are gone through once for each judgement.
    """
    judgement = await judge(tx, steps)
    done = await write(judgement)
    if done is None:
        await refresh_rules(tx)
        judgement = tx.pauses.judge(steps)
        done = await write(judgement)
    if done is None:
        raise PauseRulesChanged
    return judgement, done
