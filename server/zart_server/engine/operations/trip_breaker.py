"""A breaker opens: by hand, or since too many attempts have ended badly."""

from __future__ import annotations

from zart_server.domain.breakers import Breaker, BreakerStatus, OneBreaker, breaker_name
from zart_server.domain.commands import Caller
from zart_server.domain.errors import BreakerNotFound
from zart_server.domain.globs import to_regex
from zart_server.domain.model import StepError
from zart_server.domain.operations import OperationKind
from zart_server.domain.short_ids import short_id
from zart_server.store.breaking.probes import take_back
from zart_server.store.breaking.rows import BreakerRow, find_breaker, lock_breaker, record
from zart_server.store.breaking.states import open_breaker, reopen
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.releases import stop_release
from zart_server.store.pausing.rules import insert_rule

_WAIT = 10.0  # seconds; then it is tried again
_REASON = 1000  # characters


async def trip_breaker(
    connection: Autocommit, command: OneBreaker, caller: Caller, within: float
) -> tuple[Tx, Breaker]:
    """Open a breaker by hand; one that is open stays as it is, one half open takes its probes back.

    If its rule is being let go at a pace, that is stopped, with StopRelease's guarantee, and the
    breaker is open from then on, for a cooldown. Return also the transaction, which begins with
    the pause lock. Raises BreakerNotFound, and OperationTimeout if that lock is not had ``within``
    these seconds.
    """
    tx = await seize_pause_lock(connection, within)
    row = await lock_breaker(tx, command.breaker_id)
    if row is None:
        raise BreakerNotFound(command.breaker_id)
    status, rule_key = row.breaker.status, row.rule_key
    if status is BreakerStatus.CLOSED:
        why = caller.reason or f"tripped by {caller.triggered_by or 'hand'}"
        return tx, await _open(tx, row, caller, why, row.breaker.last_error)
    is_stopped = rule_key is not None and await stop_release(tx, rule_key)
    if status is BreakerStatus.OPEN and not is_stopped:
        return tx, row.breaker
    return tx, await open_again(tx, row, caller, None, times=1)


async def open_by_itself(
    connection: Autocommit, breaker_id: str, generation: int, error: StepError | None
) -> Breaker | None:
    """Open a breaker that has counted enough in a generation, for its last error.

    Return None, having done nothing, if it is not closed or counts another generation by now: then
    somebody else has opened it, and maybe closed it again. Raises OperationTimeout.
    """
    tx = await seize_pause_lock(connection, _WAIT)
    row = await lock_breaker(tx, breaker_id)
    if (
        row is None
        or row.breaker.status is not BreakerStatus.CLOSED
        or row.generation != generation
    ):
        return None
    why = "too many attempts ended badly" if error is None else f"{error.type}: {error.message}"
    caller = Caller(
        breaker_name(breaker_id),
        why.replace("\0", "")[:_REASON],
        incident=row.breaker.incident,
    )
    return await _open(tx, row, caller, caller.reason, error)


async def open_again(
    tx: Tx, row: BreakerRow, caller: Caller, error: StepError | None, *, times: int
) -> Breaker:
    """Open a breaker again that is not closed, for so many ``times`` as long, and record it.

    Its rule goes on, and withholds again what it has let go and nobody has leased. The breaker is
    locked, under the exclusive pause lock.
    """
    breaker_id, rule_key = row.breaker.breaker_id, row.rule_key
    await reopen(tx, row.breaker_key, row.breaker.half_open_at, error, times=times)
    if rule_key is not None:
        await take_back(tx, rule_key)
        await undrain(tx, rule_key)
    opened = await find_breaker(tx, breaker_id)
    if opened is None:
        raise BreakerNotFound(breaker_id)
    await record(tx, OperationKind.BREAKER_OPENED, opened.breaker, caller)
    tx.changes.rules = True
    return opened.breaker


async def _open(
    tx: Tx, row: BreakerRow, caller: Caller, why: str, error: StepError | None
) -> Breaker:
    """Open a closed breaker, which is locked, under the exclusive pause lock: it makes one rule."""
    breaker = row.breaker
    rule_id = short_id("pr")
    pattern = breaker.settings.step_pattern
    await insert_rule(
        tx,
        rule_id,
        breaker.settings.scope,
        None if pattern is None else to_regex(pattern),
        caller=Caller(
            breaker_name(breaker.breaker_id),
            why,
            principal=caller.principal,
            incident=caller.incident or breaker.incident,
        ),
        breaker_id=breaker.breaker_id,
    )
    await open_breaker(tx, row.breaker_key, rule_id, row.rule_key, error)
    opened = await find_breaker(tx, breaker.breaker_id)
    if opened is None:
        raise BreakerNotFound(breaker.breaker_id)
    await record(tx, OperationKind.BREAKER_OPENED, opened.breaker, caller)
    tx.changes.rules = True
    return opened.breaker
