"""Releases the steps of RELEASING rules at their rates, the oldest first.

Any server may do it. Each piece is a transaction of the server that has the rule's advisory lock,
and takes from the credit in the database: who died has left nothing that is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from zart_server.domain.pacing import seconds_until_next, whole_steps
from zart_server.engine.background.closing import Closing
from zart_server.engine.background.line_marks import LineMarks
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.release_counts import count, recount
from zart_server.engine.operations.canary_line import (
    let_canaries_go,
    lock_canaries,
    read_rates,
)
from zart_server.engine.operations.let_go import LetGo, let_steps_go, lock_line
from zart_server.engine.operations.release import end_release
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.patience import BRIEFLY
from zart_server.store.pausing.letting_go import (
    PromisedCanary,
    promise_canary,
    promised_canaries,
    take_canary,
)
from zart_server.store.pausing.releases import StandingRelease, standing_releases, withholds_any
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.work import has_rule_to_itself

_PIECE = 1_000
_PERIOD = 0.2  # seconds from one piece of a rule to the next, unless it is far behind
_AHEAD = 0.5  # a piece is to take what its credit becomes within so many seconds, at most
_SHORTEST = 0.02
_SLOW = 5.0  # a rate of which each step is waited for
_TICK = 1.0
# A rule that was moved so many seconds ago by another server is that server's.
_OTHERS = 0.5
_COUNT_EVERY = 1.0
_COUNT_SHARE = 20.0  # counting takes at most this part of the time
# Without room to go on, by what was counted last, dispatchers may have made some: only what is not
# leased is counted then, not the line.
_COUNT_WITHOUT_ROOM = 0.2


class Releases(BackgroundLoop):
    """The release sweep of one server. ``RuleLooks`` look each second for releases, and kick it."""

    def __init__(self, db: Database) -> None:
        super().__init__("releasing paused steps", first=None)
        self._db = db
        self._mine: set[int] = set()  # the rules that this server moved last, as far as it knows
        # Those in whose line were steps that other rules withhold, or somebody had locked.
        self._mixed: set[int] = set()
        self._count_every: dict[int, float] = {}  # seconds from one count of a line to the next
        self._recount_at: dict[int, float] = {}  # when what is not leased may be counted alone
        self._took: dict[int, float] = {}  # seconds, the last piece of a rule
        self._canary_at: dict[int, float] = {}  # when a canary that had to wait is looked at again
        self._marks = LineMarks()
        self._closing = Closing(db)
        self._over: set[int] = set()  # the rules that had nothing left
        self._beside: dict[str, asyncio.Task[None]] = {}  # what no piece is to wait for

    async def turn(self) -> float | None:
        """Go on with each release; return the seconds until the next look, None: at no time."""
        async with self._db.autocommit() as connection:
            standing = await standing_releases(connection)
            canaries = await promised_canaries(connection)
        for canary in canaries:
            if time.monotonic() >= self._canary_at.get(canary.rule_key, 0.0):
                await self.one_of_several(self._canary(canary))
        for key in self._canary_at.keys() - {canary.rule_key for canary in canaries}:
            del self._canary_at[key]
        self._mine &= standing.keys()
        self._mixed &= standing.keys()
        for of_rules in (self._took, self._count_every, self._recount_at):
            for key in of_rules.keys() - standing.keys():
                del of_rules[key]
        self._marks.keep_only(standing.keys())
        self._closing.keep_only(standing.keys())
        pauses = [await self.one_of_several(self._go_on(release)) for release in standing.values()]
        self._over &= standing.keys()
        # Ending a rule may have to wait for the lock.
        if await self._begin("end of releases", self._over, self._end_one):
            self._over.clear()
        due = self._closing.due(self._mine)
        await self._begin("closing what was leased", due, self._closing.close)
        return min((_TICK if pause is None else pause for pause in pauses), default=None)

    @property
    def is_beside(self) -> bool:
        """Whether rules are ended, or what was leased is closed, beside the turns."""
        return not all(task.done() for task in self._beside.values())

    async def stop(self) -> None:
        """End the loop; a piece under way is rolled back, and is done later or elsewhere."""
        await super().stop()
        for task in self._beside.values():
            task.cancel()
        await asyncio.gather(*self._beside.values(), return_exceptions=True)

    async def _begin(
        self, name: str, rule_keys: Iterable[int], work: Callable[[int], Awaitable[None]]
    ) -> bool:
        """Begin some work for rules in a task of its own; return whether it did.

        Not while such a task runs, nor without rules. Raises what the one before failed with.
        """
        if name in self._beside and self._beside[name].done():
            await self._beside.pop(name)
        keys = list(rule_keys)
        if not keys or name in self._beside:
            return False

        async def each() -> None:
            for key in keys:
                await self.one_of_several(work(key))

        self._beside[name] = asyncio.create_task(each(), name=name)
        return True

    async def _end_one(self, rule_key: int) -> None:
        async with self._db.autocommit() as connection:
            await end_release(connection, rule_key)

    async def _canary(self, canary: PromisedCanary) -> None:
        """Release what was asked for before the rule was settled.

        Others may have locked its runs, or another rule may withhold it by now. It was answered as
        released: what is left of it is looked at again, as long as the rule withholds a step that
        was ready then. What became ready later needs another canary, and so does what failed since.
        """
        rule_key, last = canary.rule_key, canary.last_queue_no
        begun = time.monotonic()
        async with self._db.transaction(first=BRIEFLY) as tx:
            if not await has_rule_to_itself(tx, rule_key):
                return
            line = await lock_canaries(tx, rule_key, canary.steps, await read_rates(tx), last)
            if line.run_keys:
                await share_pause_lock(tx)
                if left := await take_canary(tx, canary):
                    left -= (await let_canaries_go(tx, rule_key, line, left, last)).released
                if left:  # whether there is anything that it may be of, the next look tells
                    await promise_canary(tx, rule_key, left, last)
            elif not line.is_any and not await withholds_any(tx, rule_key, last):
                await share_pause_lock(tx)
                await take_canary(tx, canary)
        now = time.monotonic()
        self._canary_at[rule_key] = now + max(_PERIOD, (now - begun) * _COUNT_SHARE)

    async def _go_on(self, release: StandingRelease) -> float:
        """Let go what may go now of one rule; return the seconds until the next look at it."""
        key = release.rule_key
        is_others = release.moved_ago is not None and release.moved_ago < _OTHERS
        if not release.is_settled:
            return _PERIOD
        if is_others and key not in self._mine:
            return _TICK
        if await self._count(release):
            self._over.add(key)
            return _PERIOD
        if min(whole_steps(release.credit), release.room) > 0:
            begun = time.monotonic()
            # Where all is slow, more may go by the time that the piece has its locks.
            ahead = release.rate * min(self._took.get(key, 0.0), _AHEAD)
            count = min(whole_steps(release.credit + ahead), release.room, _PIECE)
            done = await self._piece(release, count)
            self._took[key] = time.monotonic() - begun
            return self._after(release, done)
        wait = seconds_until_next(release.credit, release.rate)
        return min(max(wait, _SHORTEST) if wait else _PERIOD, _TICK)

    def _after(self, release: StandingRelease, done: LetGo | None) -> float:
        """Return the seconds until the next look at a rule of which a piece was done."""
        key = release.rule_key
        if done is None:
            self._mine.discard(key)
            return _TICK
        self._mine.add(key)
        if done.handed_over:
            self._mixed.add(key)
            return _SHORTEST
        if not done.released:  # what it has may not go yet
            return _PERIOD
        self._mixed.discard(key)
        if done.released >= _PIECE:  # it is behind
            return 0.0
        wait = seconds_until_next(release.credit - done.released, release.rate)
        rest = max(wait, 0.0 if release.rate < _SLOW else _PERIOD) - self._took[key]
        return min(max(rest, _SHORTEST), _TICK)

    async def _piece(self, release: StandingRelease, count: int) -> LetGo | None:
        """Let some steps go; None if another server is at work for the rule."""
        key = release.rule_key
        looked_at = _PIECE if key in self._mixed else count
        begin = self._marks.begin(key)
        async with self._db.transaction(first=BRIEFLY) as tx:
            if not await has_rule_to_itself(tx, key):
                return None
            line = await lock_line(tx, key, looked_at, release.now, begin)
            done = LetGo(0, 0)
            if line.run_keys:
                done = await _let_go(tx, release, line.run_keys, count, looked_at)
                if not (done.released or done.handed_over):
                    self._mixed.add(key)  # somebody has locked the oldest: others are behind them
        self._marks.looked(key, begin, line, done.end, release.now)
        return done

    async def _count(self, release: StandingRelease) -> bool:
        """Count now and then what is left and what is not leased; return if nothing was left.

        By the database's clock, so that more servers do not count more often.
        """
        key, begun, ago = release.rule_key, time.monotonic(), release.counted_ago
        of_line = ago is None or ago >= self._count_every.get(key, _COUNT_EVERY)
        has_room = release.room >= release.credit
        if not of_line and (has_room or begun < self._recount_at.get(key, 0.0)):
            return False
        has_line = True
        try:
            async with self._db.transaction(first=BRIEFLY) as tx:
                if not await has_rule_to_itself(tx, key):
                    return False
                if of_line:
                    has_line = await count(tx, release)
                else:
                    await recount(tx, release)
        finally:  # where it could not be noted, too
            took = time.monotonic() - begun
            if of_line:
                self._count_every[key] = max(_COUNT_EVERY, took * _COUNT_SHARE)
            else:
                self._recount_at[key] = begun + max(_COUNT_WITHOUT_ROOM, took * _COUNT_SHARE)
        return not has_line


async def _let_go(
    tx: Tx, release: StandingRelease, run_keys: Sequence[int], count: int, looked_at: int
) -> LetGo:
    """Let some steps of locked runs go, as many of ``count`` as may go by now."""
    await share_pause_lock(tx)
    # Another sweep or an operation may have come first.
    standing = await standing_releases(tx)
    own = standing.get(release.rule_key)
    if own is None or not own.is_settled:
        return LetGo(0, 0)
    count = min(count, whole_steps(own.credit), own.room)
    if count <= 0:
        return LetGo(0, 0)
    rates = {other: one.rate for other, one in standing.items()}
    return await let_steps_go(
        tx, release.rule_key, run_keys, count, rates, looked_at=looked_at, until=release.now
    )
