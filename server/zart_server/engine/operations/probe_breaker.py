"""A breaker lets a few steps try whether it is over, and closes or opens again by their outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zart_server.domain.breakers import BreakerStatus, breaker_name
from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.close_breaker import close_breaker
from zart_server.engine.operations.let_go import let_steps_go, lock_line
from zart_server.engine.operations.trip_breaker import open_again
from zart_server.store.breaking.probes import (
    Probes,
    error_of_probes,
    find_probes,
    find_probes_of_rules,
)
from zart_server.store.breaking.rows import find_breaker, lock_breaker, record
from zart_server.store.breaking.states import half_open, is_to_try
from zart_server.store.clock import read_clock
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.pausing.alike import Alike
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.paused import paused_in_runs
from zart_server.store.pausing.releases import is_settled, standing_releases
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.work import has_rule_to_itself
from zart_server.store.slices import in_slices

_WAIT = 10.0  # seconds; then it is tried again
_LOOKED_AT = 100  # steps, of which other rules may withhold some


async def half_open_breaker(connection: Autocommit, breaker_id: str) -> bool:
    """Have the steps of an open breaker try, in a transaction, if its cooldown is over.

    One that is half open since a moment to come, as the clock went back, is so from now on, or it
    would let ever more steps go. Return whether this did it: for one that another server has seen
    to, nobody is kept waiting. Raises OperationTimeout.
    """
    if not await is_to_try(connection, breaker_id):
        return False
    tx = await seize_pause_lock(connection, _WAIT)
    row = await lock_breaker(tx, breaker_id)
    if row is None or row.rule_key is None or not await half_open(tx, row.breaker_key):
        return False
    if row.breaker.status is BreakerStatus.HALF_OPEN:
        return True
    await undrain(tx, row.rule_key)
    caller = Caller(breaker_name(breaker_id), "its cooldown is over")
    await record(tx, OperationKind.BREAKER_HALF_OPENED, row.breaker, caller)
    tx.changes.rules = True
    return True


async def let_probes_go(tx: Tx, probes: Probes, breaker_id: str) -> int:
    """Let as many of the oldest steps go as a half-open breaker's probes lack; return how many.

    A step that other rules withhold, too, is no probe, unless these are of half-open breakers that
    lack one, whose probe it is as well; one that a releasing rule has to let go, too, is one at its
    pace. Nor is one in backoff: what is due first tries. Locks runs, those that nobody else has
    locked, and the pause lock, shared.
    """
    rule_key, looked_at = probes.rule_key, max(probes.missing, _LOOKED_AT)
    if not await has_rule_to_itself(tx, rule_key):
        return 0
    due = await read_clock(tx)
    locked = (await lock_line(tx, rule_key, looked_at, due)).run_keys
    if not locked:
        return 0
    await share_pause_lock(tx)
    # It stays half open from here on, and nobody else lets its steps go.
    now = await find_probes(tx, breaker_id)
    if now is None or now.since != probes.since or not now.missing:
        return 0
    if not await is_settled(tx, rule_key):
        return 0
    rates = {key: one.rate for key, one in (await standing_releases(tx)).items()}
    done = await let_steps_go(
        tx,
        rule_key,
        locked,
        now.missing,
        rates,
        looked_at=looked_at,
        until=due,
        beside=await _lacking(tx, rule_key, locked, looked_at),
    )
    return done.released


async def _lacking(
    tx: Tx, rule_key: int, locked: Sequence[int], looked_at: int
) -> Mapping[int, int]:
    """Return how many probes other half-open breakers lack whose rules match steps of the line.

    Two that wait for the same steps would wait for one another for ever. Nobody else moves steps
    for their rules from here on.
    """
    line = await paused_in_runs(tx, rule_key, locked, looked_at)
    others: set[int] = set()
    matching = Alike(tx.pauses, lambda step: others.update(tx.pauses.matching(step)))
    await in_slices(tx, line, lambda step: matching.of(step.names))
    others.discard(rule_key)
    if not others:
        return {}
    mine = [
        probes.rule_key
        for probes in await find_probes_of_rules(tx, sorted(others))
        if await has_rule_to_itself(tx, probes.rule_key) and await is_settled(tx, probes.rule_key)
    ]
    return {probes.rule_key: probes.missing for probes in await find_probes_of_rules(tx, mine)}


async def conclude_probes(
    connection: Autocommit, breaker_id: str, probes: Probes
) -> BreakerStatus | None:
    """Close a half-open breaker whose probes were completed, or open it again for a bad one.

    Return its status, None: it was not half open any more, or it lacks good ones by now, as when it
    was changed to want more. Raises OperationTimeout.
    """
    tx = await seize_pause_lock(connection, _WAIT)
    row = await lock_breaker(tx, breaker_id)
    # Neither what became of them nor who ends its rule changes from here on.
    judged = await find_probes(tx, breaker_id)
    if row is None or judged is None or judged.since != probes.since:
        return None
    name = breaker_name(breaker_id)
    if judged.bad:
        error = await error_of_probes(tx, row.breaker_key)
        await open_again(tx, row, Caller(name, "a probe ended badly"), error, times=2)
    elif judged.good >= judged.wanted:
        await close_breaker(tx, row, Caller(name, "its probes were completed"))
    else:
        return None
    now = await find_breaker(tx, breaker_id)
    return None if now is None else now.breaker.status
