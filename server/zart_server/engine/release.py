"""Moves steps between queue and held after a Pause and after a Resume, in small transactions."""

from __future__ import annotations

from zart_server.store.db import Database, Tx
from zart_server.store.held import (
    has_unsettled,
    held_in_runs,
    is_holding,
    release,
    runs_held_by,
    settle,
)
from zart_server.store.rules import end_work, share_pause_lock
from zart_server.store.runs import lock_runs

_BATCH = 500
_BATCHES = 40  # of one rule before the next has its turn


async def move_aside(db: Database, rule_key: int) -> None:
    """Hold the queued tasks that a new rule matches; claims do the same in passing meanwhile."""
    for _ in range(_BATCHES):
        async with db.transaction() as tx:
            await share_pause_lock(tx)
            if await settle(tx, rule_key, _BATCH):
                continue
            # Nothing moved: all done, or what is left is locked by a claim that passes it by.
            if not await has_unsettled(tx, rule_key):
                await end_work(tx, rule_key, "settle")
            return


async def release_held(db: Database, rule_key: int) -> None:
    """Queue what a deleted rule withheld, oldest first; what another rule matches is its now."""
    for _ in range(_BATCHES):
        async with db.transaction() as tx:
            if not await _release_some(tx, rule_key):
                return


async def _release_some(tx: Tx, rule_key: int) -> bool:
    """Release one batch; False where nothing is left, or runs that somebody else holds."""
    run_keys = await runs_held_by(tx, rule_key, _BATCH)
    if not run_keys:
        await share_pause_lock(tx)
        if not await is_holding(tx, rule_key):
            await end_work(tx, rule_key, "release")
        return False
    # The run row is the mutex of its steps: a Restart must not miss a step on its way.
    locked = list(await lock_runs(tx, run_keys, wait=False))
    if not locked:
        return False
    await share_pause_lock(tx)
    steps = await held_in_runs(tx, rule_key, locked, _BATCH)
    while True:
        keys = await tx.pauses.judge(
            tx, [(step.execution_id, step.task_name, step.step_name) for step in steps]
        )
        moves = [(s.run_key, s.step_no, key) for s, key in zip(steps, keys, strict=True)]
        if await release(tx, moves, tx.pauses.epoch):
            break
        await tx.pauses.refresh(tx)
    for step, key in zip(steps, keys, strict=True):
        tx.changes.executions.add(step.execution_key)
        if key is None:
            tx.changes.queued(step.task_name, step.handler)
    return True
