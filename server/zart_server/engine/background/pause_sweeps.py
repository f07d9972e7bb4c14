"""Moves tasks aside after a Pause and back into the queue after a Resume, a few at a time.

The sweep rests after each piece of work, so that it slows down no other work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.release_pieces import release_exempt, release_some
from zart_server.engine.background.settle_pieces import LaneSweep, ReleasedSweep, SettleSweep
from zart_server.engine.operations.settle_rule import settle_rule_of_execution
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.patience import BRIEFLY
from zart_server.store.pausing.paused import PausedAt
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.settling import lanes_to_settle
from zart_server.store.pausing.work import (
    PauseWork,
    end_releasing,
    end_settling,
    has_rule_to_itself,
    pause_work,
)

_AGAIN = 0.05  # seconds until tasks that another transaction had locked are looked at again
_BATCHES = 5  # of one rule; then it is the next rule's turn
# Seconds of rest for each second of work. No caller waits for tasks to be moved aside: claims pass
# them over.
_REST_SETTLING = 6.0
_REST_RELEASING = 1.0


class PauseSweeps(BackgroundLoop):
    """The pause sweep of one server. Servers may share a rule; each piece is done by one server.

    ``RuleLooks`` looks each second for work, and kicks it. Where somebody holds rows of a rule's
    steps for long, these wait, and no other rule.
    """

    def __init__(self, db: Database) -> None:
        super().__init__("moving paused and resumed steps", first=None)
        self._db = db
        self.on_settled: Callable[[], None] = lambda: None  # what waits for a rule to be settled
        self._history: str | None = None  # of the database, in which the sweeps have come so far
        self._sweeps: dict[PauseWork, SettleSweep] = {}
        self._released: dict[int, PausedAt] = {}  # how far the release for a rule has come
        self._last = PauseWork(0, "settle")  # the rule that settled last, finished or not

    async def turn(self) -> float | None:
        """Go on with each rule that has work left, as long as this server moves something.

        Once it is kicked it goes on with one more settling rule, at most: a Resume may wait.
        """
        async with self._db.autocommit() as connection:
            work = await pause_work(connection)
            self._forget_if_lost()
        for ended in self._sweeps.keys() - set(work):  # by another server, or by a Resume
            del self._sweeps[ended]
        for rule_key in self._released.keys() - {item.rule_key for item in work}:
            del self._released[rule_key]
        has_moved = False
        for item in self._in_order(work):
            is_settling = item.work == "settle"
            go_on = self._move_aside if is_settling else self._release_paused
            has_moved |= bool(await self.one_of_several(go_on(item)))
            if is_settling:
                self._last = item
                if self.is_kicked:
                    break
        return _AGAIN if has_moved else None

    def _in_order(self, work: Sequence[PauseWork]) -> list[PauseWork]:
        """Return work in the order in which a turn goes through it.

        Releases first: a caller waits for resumed steps, none for tasks to be moved aside. Of the
        settling rules first those behind the last one: where each turn is cut short, one rule that
        cannot be settled would keep all others waiting.
        """
        settling = sorted(item for item in work if item.work == "settle")
        behind = [item for item in settling if item > self._last]
        before = settling[: len(settling) - len(behind)]
        return [item for item in work if item.work != "settle"] + behind + before

    async def _move_aside(self, work: PauseWork) -> bool:
        """Pause queued tasks of a settling rule; claims pass them over meanwhile."""
        sweep = self._sweeps.get(work)
        if sweep is None:
            async with self._db.transaction(first=BRIEFLY) as tx:
                sweep = await _begin_sweep(tx, work)
            if sweep is None:
                return True
            self._sweeps[work] = sweep
        for number in range(_BATCHES):
            if number and self.is_kicked:  # perhaps by a Resume
                break
            if sweep.is_at_end:
                await self._end_settling(work, sweep)
                break
            async with self._piece(work.rule_key, _REST_SETTLING) as tx:
                if tx is None:
                    return False
                await sweep.piece(tx, work.rule_key)
            sweep.committed()
        return True

    async def _end_settling(self, work: PauseWork, sweep: SettleSweep) -> None:
        """Note that a rule is settled if its sweep passed over no task; else the sweep begins anew.

        No matching task is queued after the rule's commit: one whole sweep is enough, if all of it
        was in one history of the database.
        """
        del self._sweeps[work]
        if not sweep.is_missed:
            async with self._db.transaction(first=BRIEFLY) as tx:
                if self._forget_if_lost():
                    return
                await end_settling(tx, work)
            self.on_settled()

    def _forget_if_lost(self) -> bool:
        """Forget how far the sweeps have come if that was in another history; return whether.

        What they had moved aside may be back in the queue, as after a failover that lost some.
        """
        if self._history == self._db.history:
            return False
        self._history = self._db.history
        self._sweeps.clear()
        self._released.clear()
        return True

    async def _release_paused(self, work: PauseWork) -> bool:
        """Queue what a rule withholds no longer, or leave it to another rule that matches it."""
        for _ in range(_BATCHES):
            async with self._piece(work.rule_key, _REST_RELEASING) as tx:
                if tx is None:
                    return False
                is_more = await self._release_piece(tx, work)
            if not is_more:
                break
        return True

    async def _release_piece(self, tx: Tx, work: PauseWork) -> bool:
        """Release some steps; return whether there may be more.

        At the end of a pass the whole line is looked at for those that were passed over, and only
        then: while a snapshot is open that reads all that was released, too.
        """
        if work.execution_id:
            if await release_exempt(tx, work.rule_key, work.execution_id):
                return True
            await share_pause_lock(tx)
        else:
            end = await release_some(tx, work.rule_key, self._released.get(work.rule_key))
            if end is not None:
                self._released[work.rule_key] = end
                return True
            self._released.pop(work.rule_key, None)  # if any is left, it begins anew
        await end_releasing(tx, work)
        return False

    @contextlib.asynccontextmanager
    async def _piece(self, rule_key: int, rest: float) -> AsyncIterator[Tx | None]:
        """Open a transaction for a piece of work, and rest after it.

        Yields None if another server is at work for the rule.
        """
        begun = time.monotonic()
        async with self._db.transaction(first=BRIEFLY) as tx:
            yield tx if await has_rule_to_itself(tx, rule_key) else None
        await asyncio.sleep((time.monotonic() - begun) * rest)


async def _begin_sweep(tx: Tx, work: PauseWork) -> SettleSweep | None:
    """Return the sweep that settles a rule. One execution is settled at once, without: None."""
    if work.of_released:
        return ReleasedSweep()
    lanes = None if work.execution_id else await lanes_to_settle(tx, work.rule_key)
    if lanes is None:
        await settle_rule_of_execution(tx, work)
        return None
    return LaneSweep(lanes)
