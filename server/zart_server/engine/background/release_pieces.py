"""Queues paused steps that their rule withholds no longer, or leaves them to another one."""

from __future__ import annotations

from collections.abc import Collection

from zart_server.store.connection import Tx
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.judging import write_judged
from zart_server.store.pausing.paused import (
    PausedAt,
    paused_by_rule,
    paused_in_runs,
    release,
    run_of,
)
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.runs import lock_runs

_BATCH = 500


async def release_some(tx: Tx, rule_key: int, after: PausedAt | None) -> PausedAt | None:
    """Release one batch of a deleted rule's paused steps; return its end, None if none was left.

    Steps of runs that another transaction has locked are passed over, until the sweep begins anew.
    """
    paused = await paused_by_rule(tx, rule_key, after, _BATCH)
    if not paused:
        return None
    await _release(tx, rule_key, {step.run_key for step in paused})
    return paused[-1]


async def release_exempt(tx: Tx, rule_key: int, execution_id: str) -> bool:
    """Release one batch of an exempt execution's paused steps; return whether there may be more."""
    run_key = await run_of(tx, execution_id)
    return run_key is not None and await _release(tx, rule_key, [run_key]) == _BATCH


async def _release(tx: Tx, rule_key: int, run_keys: Collection[int]) -> int:
    # The run row is the mutex of its steps: a Restart must not miss a step that is being moved.
    locked = list(await lock_runs(tx, run_keys, wait=False))
    if not locked:
        return 0
    await share_pause_lock(tx)
    steps = await paused_in_runs(tx, rule_key, locked, _BATCH)
    names = [step.names for step in steps]
    judgement, _ = await write_judged(tx, names, lambda by: release(tx, steps, by))
    letting_go: set[int] = set()
    for step, rule in judgement.beside(steps):
        if rule is None:
            letting_go.update(step.let_go)  # rules that let it go before, and are not drained now
            tx.changes.queued(step.task_name, step.handler)
            tx.changes.put_back(step.task_name, step.handler, step.lane, step.cursor)
    if letting_go:
        await undrain(tx, *letting_go)
    return len(steps)
