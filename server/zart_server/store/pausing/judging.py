"""Judges steps by the pause rules, and writes by that judgement if the rules are still those.

The only place that repeats what was judged: see ``write_judged``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from zart_server.domain.errors import PauseRulesChanged
from zart_server.domain.rule_set import ActiveRule, Judgement, RuleSet, StepNames
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.active import read_active, read_changed
from zart_server.store.pausing.alike import Alike
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.slices import Slices, in_slices

T = TypeVar("T")
_ROUNDS = 3  # for rules that change while steps are judged


async def refresh_rules(connection: Connection) -> None:
    """Bring the rules at hand to the newest epoch; several transactions may do so at once.

    All rules are read by one of them at a time: of a hundred thousand that takes a second, and ten
    times as long where ten do it. What another one has read may be older than what this one has to
    go by, as it holds the pause lock: so what has changed since is read once more.
    """
    pauses = connection.pauses
    while True:
        since = pauses.since
        changed = None if since is None else await read_changed(connection, since)
        if changed is not None:
            pauses.change(changed)
            return
        if pauses.reading is not None:
            await connection.wait_for(pauses.reading)
        elif pauses.since == since:  # else somebody has read them meanwhile
            with pauses.being_read():
                epoch, active = await read_active(connection)
                pauses.replace(epoch, await _rule_set(connection, active))
            return


async def _rule_set(connection: Connection, active: Iterable[ActiveRule]) -> RuleSet:
    """Gather rules, in slices: thousands of patterns take a while to read."""
    rules, slices = RuleSet(), Slices(connection)
    for rule in active:
        rules.put(*rule)
        if slices.is_over:
            await slices.rest()
    return rules


async def _judge(connection: Connection, steps: Iterable[StepNames]) -> Judgement:
    """Judge steps by the rules at hand, in slices: beside thousands of rules thousands take long.

    Where the rules change meanwhile it begins anew. A judgement by rules that kept changing is of
    no epoch, and is never written: what follows it judges under the pause lock, or not at all.
    """
    pauses = connection.pauses
    for _ in range(_ROUNDS):
        since = pauses.since
        rules = await in_slices(connection, steps, pauses.oldest) if pauses.is_any else []
        if since == pauses.since:
            break
    return pauses.judged(rules, since)


async def judge(connection: Connection, steps: Iterable[StepNames]) -> Judgement:
    """Judge steps by the rules that this server knows, for a statement that is tried once."""
    if connection.pauses.since is None:
        await refresh_rules(connection)
    return await _judge(connection, steps)


async def ask_of_each(
    connection: Connection, steps: Iterable[StepNames], ask: Callable[[StepNames], T]
) -> list[T]:
    """Ask something of each step, by the rules at hand; of those that these see alike only once.

    For what is told: it is of one epoch unless the rules keep changing, and nothing is written by
    it. ``steps`` are gone through once more where they changed.
    """
    pauses = connection.pauses
    for _ in range(_ROUNDS):
        since = pauses.since
        found = await in_slices(connection, steps, Alike(pauses, ask).of)
        if since == pauses.since:
            break
    return found


async def judge_to_the_end(tx: Tx, steps: Iterable[StepNames]) -> Judgement:
    """Judge steps by rules that stay until the transaction ends.

    Takes the pause lock, shared, and so is for after the last row lock.
    """
    await share_pause_lock(tx)
    await refresh_rules(tx)
    return await _judge(tx, steps)


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

    ``steps`` are gone through once for each judgement, and anew where the rules change meanwhile.
    """
    judgement = await judge(tx, steps)
    done = await write(judgement)
    if done is None:
        await refresh_rules(tx)
        judgement = await _judge(tx, steps)
        done = await write(judgement)
    if done is None:
        raise PauseRulesChanged
    return judgement, done
