"""Moves tasks aside after a Pause and back into the queue after a Resume, a few at a time.

The sweep rests after each piece of work, so that it slows down no other work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from zart_server.domain.errors import ZartError
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.pausing.judging import write_judged
from zart_server.store.pausing.paused import PausedAt, paused_by_rule, paused_in_runs, release
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.settling import (
    lanes_to_settle,
    settle_lane,
)
from zart_server.store.pausing.work import (
    end_releases,
    end_settling,
    has_rule_to_itself,
    pause_work,
)
from zart_server.store.queue import LaneCursor
from zart_server.store.runs import lock_runs

_log = logging.getLogger(__name__)
_AGAIN = 0.05  # seconds until tasks that another transaction had locked are looked at again
_BATCH = 500
_BATCHES = 5  # of one rule; then it is the next rule's turn
# Seconds of rest for each second of work. No caller waits for tasks to be moved aside: claims pass
# them over.
_REST_SETTLING = 6.0
_REST_RELEASING = 1.0


@dataclass(slots=True)
class _Sweep:
    """How far the settling of a rule has come: the lanes left, and a cursor in the first of them.

    ``missed``: matching tasks were passed over, as another transaction had locked them.
    """

    lanes: list[int]
    after: LaneCursor | None = None
    missed: bool = False


class PauseSweeps:
    """The pause sweep of one server. Servers may share a rule; each piece is done by one server."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kicked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sweeps: dict[int, _Sweep] = {}
        self._released: dict[int, PausedAt] = {}  # how far the release for a rule has come

    def start(self) -> None:
        """Begin the loop. Maintenance looks each second for work, and kicks the loop."""
        self._task = asyncio.create_task(self._run(), name="pause sweeps")

    async def stop(self) -> None:
        """End the loop; a piece under way is rolled back, and is done later or elsewhere."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kick(self) -> None:
        """Have the loop look now."""
        self._kicked.set()

    async def _run(self) -> None:
        while True:
            await self._kicked.wait()
            self._kicked.clear()
            try:
                if await self.move():
                    await asyncio.sleep(_AGAIN)
                    self._kicked.set()
            except ZartError as error:
                _log.warning("moving paused and resumed steps has to wait: %s", error.message)
            except Exception:  # noqa: BLE001 - told in full; it is kicked again
                _log.exception("moving paused and resumed steps failed; it goes on")

    async def move(self) -> bool:
        """Go on with each rule that has work left. Return False if this server moved nothing."""
        async with self._db.transaction() as tx:
            await share_pause_lock(tx)
            await end_releases(tx)
            work = await pause_work(tx)
        has_moved = False
        # Releases first: a caller waits for resumed steps, none for tasks to be moved aside.
        for rule_key, kind in sorted(work, key=lambda item: item[1] == "settle"):
            go_on = self._move_aside if kind == "settle" else self._release_paused
            has_moved |= await go_on(rule_key)
        return has_moved

    async def _move_aside(self, rule_key: int) -> bool:
        """Pause the queued tasks that a new rule matches; claims pass them over meanwhile."""
        sweep = self._sweeps.get(rule_key)
        if sweep is None:
            async with self._db.transaction() as tx:
                lanes = await lanes_to_settle(tx, rule_key)
                if lanes is None:
                    await settle_rule_of_execution(tx, rule_key)
                    return True
            sweep = self._sweeps[rule_key] = _Sweep(lanes)
        for number in range(_BATCHES):
            if number and self._kicked.is_set():  # perhaps by a Resume
                break
            if not sweep.lanes:
                await self._end_settling(rule_key, sweep)
                break
            async with self._piece(rule_key, _REST_SETTLING) as tx:
                if tx is None:
                    return False
                await share_pause_lock(tx)
                moved = await settle_lane(tx, rule_key, sweep.lanes[0], sweep.after, _BATCH)
            # Only now that the piece is committed.
            sweep.missed = sweep.missed or moved.left > 0
            sweep.after = moved.end
            if moved.end is None:
                sweep.lanes.pop(0)
        return True

    async def _end_settling(self, rule_key: int, sweep: _Sweep) -> None:
        """Note that a rule is settled if its sweep passed over no task; else the sweep begins anew.

        No matching task is queued after the rule's commit: one whole sweep is enough.
        """
        del self._sweeps[rule_key]
        if not sweep.missed:
            async with self._db.transaction() as tx:
                await end_settling(tx, rule_key)

    async def _release_paused(self, rule_key: int) -> bool:
        """Queue the steps that a deleted rule withheld, or leave them to another matching rule."""
        self._sweeps.pop(rule_key, None)
        for _ in range(_BATCHES):
            async with self._piece(rule_key, _REST_RELEASING) as tx:
                if tx is None:
                    return False
                after = self._released.get(rule_key)
                end = await _release_some(tx, rule_key, after)
            if end is None:
                self._released.pop(rule_key, None)
                break
            self._released[rule_key] = end
        return True

    @contextlib.asynccontextmanager
    async def _piece(self, rule_key: int, rest: float) -> AsyncIterator[Tx | None]:
        """Open a transaction for a piece of work, and rest after it.

        Yields None if another server is at work for the rule.
        """
        begun = time.monotonic()
        async with self._db.transaction() as tx:
            yield tx if await has_rule_to_itself(tx, rule_key) else None
        await asyncio.sleep((time.monotonic() - begun) * rest)


async def _release_some(tx: Tx, rule_key: int, after: PausedAt | None) -> PausedAt | None:
    """Release one batch of a rule's paused steps and return its end; None if none was left.

    Steps of runs that another transaction has locked are passed over, until the sweep begins anew.
    """
    paused = await paused_by_rule(tx, rule_key, after, _BATCH)
    if not paused:
        return None
    # The run row is the mutex of its steps: a Restart must not miss a step that is being moved.
    locked = list(await lock_runs(tx, {step.run_key for step in paused}, wait=False))
    if locked:
        await share_pause_lock(tx)
        await _release(tx, rule_key, locked)
    return paused[-1]


async def _release(tx: Tx, rule_key: int, run_keys: list[int]) -> None:
    steps = await paused_in_runs(tx, rule_key, run_keys, _BATCH)
    names = [(step.execution_id, step.task_name, step.step_name) for step in steps]
    judgement, _ = await write_judged(tx, names, lambda by: release(tx, steps, by))
    for step, rule in judgement.beside(steps):
        if rule is None:
            tx.changes.queued(step.task_name, step.handler)
            tx.changes.put_back(step.task_name, step.handler, step.lane, step.cursor)
