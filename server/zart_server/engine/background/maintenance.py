"""Maintenance, without a call: wakes long polls for due tasks, and keeps what is noted in order.

Safe to run on every replica: each piece of work is a guarded transaction that skips the rows that
another replica has locked. Where one part fails the others are done all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from functools import partial

from zart_server.engine.background import own_clock
from zart_server.engine.background.looks import DueLooks
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.untold_deaths import tell_untold_deaths
from zart_server.engine.background.watches import Watches
from zart_server.engine.dispatch.dispatch import Dispatch
from zart_server.engine.dispatch.due_soon import DueSoon
from zart_server.store.changes import SOON
from zart_server.store.db import Database
from zart_server.store.definitions import touch_asked
from zart_server.store.due import DueLane
from zart_server.store.requests import purge_requests

_TICK = SOON  # seconds between two looks, unless something is known to be due earlier
_SHORTEST = 0.01
# Seconds from when a task is due of which this server wakes calls by itself until a look all the
# same: behind it in its lane there may be one that another server queued.
_ALL_THE_SAME = 0.25
# Looks for due tasks take a tenth of the time: where many steps back off, some task is due at each
# moment. No rest is longer: a turn that had to wait tells nothing of what looks cost.
_REST, _LONGEST_REST = 9, 0.1  # times as long as the last turn took; seconds
_ASKED_EVERY = 5.0
# What another server has noted within so many seconds stands: so each note is at most that much
# older than it would be, 7.5 s, of the 15 after which nobody asks any more (``STALE_AFTER``).
_ASKED_FRESH = _ASKED_EVERY / 2
_WATCHES_EVERY = 5.0
_UNTOLD_EVERY = 2.0
_UNTOLD_PIECES = 20
_PURGE_EVERY = 600.0  # seconds from one look for old requests at all of them to the next
_PURGE = 200  # blocks at a time: of some thousand requests, all of which may be old
_PURGE_NEXT = 1.0  # seconds until the next piece, where there is more; and
_PURGE_REST = 10  # times as long as that took: what waits for the turn is to notice little of it


class Maintenance(BackgroundLoop):
    """The maintenance loop of one server."""

    def __init__(
        self, db: Database, dispatch: Dispatch, due_soon: DueSoon, watches: Watches
    ) -> None:
        super().__init__("maintenance", first=0.0)
        self._db = db
        self._dispatch = dispatch
        self._due_soon = due_soon
        self._watches = watches
        self._timers: set[asyncio.TimerHandle] = set()
        self._due = DueLooks(dispatch.low_water)
        self.done_at = time.monotonic()  # when calls were last woken for what is due
        self._over_at = self.done_at  # when a turn was last over
        self._noted: dict[str, float] = {}  # when a task that is asked for was noted last
        self._rests_until = 0.0  # from looks for due tasks; by time.monotonic
        self._purged = 0  # blocks of the requests that were looked at for old ones, of all
        self._next = {"watches": 0.0, "untold": 0.0, "purge": 0.0}

    async def stop(self) -> None:
        """End the loop; work under way is rolled back, and another replica does it."""
        for timer in self._timers:
            timer.cancel()
        await super().stop()

    def kick_in(self, seconds: float) -> None:
        """Have the loop look for due tasks after so many seconds, or a rest, if that is soon."""
        if seconds < _TICK:
            timer: asyncio.TimerHandle
            timer = asyncio.get_running_loop().call_later(seconds, lambda: self._is_due(timer))
            self._timers.add(timer)

    def _is_due(self, timer: asyncio.TimerHandle) -> None:
        self._timers.discard(timer)
        rest = self._rests_until - time.monotonic()
        if rest > 0:
            self.kick_in(rest)
        else:
            self.kick()

    async def turn(self) -> float:
        """Do the work that is due, and return the seconds until more is known to be due."""
        began = time.monotonic()
        self._rests_until = began + _LONGEST_REST  # what is due meanwhile is for the next turn
        names = self._dispatch.long_polls.task_names()
        later: list[float] = []
        await self.each(
            [
                partial(self._look_for_due, names, later),
                partial(self._note_asked, names),
                self._poll_watches,
                self._tell_untold_deaths,
                self._purge_requests,
            ]
        )
        self._over_at = time.monotonic()
        rest = min(_REST * (self._over_at - began), _LONGEST_REST)
        self._rests_until = self._over_at + rest
        return _until_due(later, rest)

    async def _look_for_due(self, names: set[str], later: list[float]) -> None:
        """Wake the long polls for what is due; ``later`` gets in how many seconds to look again."""
        lanes = sorted(names | self._dispatch.low_water.task_names())
        due: list[DueLane] = []
        if lanes:
            async with self._db.autocommit() as connection:
                due = await self._due.look(connection, lanes)
        later += _later(due, names, self._due_soon)
        self._dispatch.long_polls.wake(
            {(lane.task_name, lane.handler): 1000 for lane in due if lane.due_in <= 0}
        )
        self.done_at = time.monotonic()

    async def _note_asked(self, names: set[str]) -> None:
        """Note which tasks are asked for: each few seconds, but one that was not before at once."""
        now = _now()
        asked = self._dispatch.asked | names
        self._noted = {name: at for name, at in self._noted.items() if now - at < _ASKED_EVERY}
        if asked <= self._noted.keys():
            return
        async with self._db.autocommit() as connection:
            # All of them, so that they stay together.
            await touch_asked(connection, asked, _ASKED_FRESH)
        self._dispatch.asked -= asked
        self._noted = dict.fromkeys(asked, now)

    def _is_time(self, name: str, every: float) -> bool:
        """Return whether something is to be done now, and note when it is next."""
        now = _now()
        is_time = now >= self._next[name]
        if is_time:
            self._next[name] = now + every
        return is_time

    async def _poll_watches(self) -> None:
        if self._is_time("watches", _WATCHES_EVERY):
            await self._watches.poll()

    async def _tell_untold_deaths(self) -> None:
        if self._is_time("untold", _UNTOLD_EVERY):
            for _ in range(_UNTOLD_PIECES):
                if not await tell_untold_deaths(self._db):
                    break

    async def _purge_requests(self) -> None:
        begun = _now()
        if self._is_time("purge", _PURGE_EVERY):
            async with self._db.autocommit() as connection:
                now = own_clock.own_time()
                is_more = await purge_requests(connection, now, self._purged, _PURGE)
            self._purged = self._purged + _PURGE if is_more else 0
            if is_more:
                rest = max(_PURGE_NEXT, _PURGE_REST * (_now() - begun))
                self._next["purge"] = _now() + min(rest, _PURGE_EVERY)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _later(due: Sequence[DueLane], names: Collection[str], due_soon: DueSoon) -> list[float]:
    """Return in how many seconds to look for what is due soon in each lane of these tasks."""
    return [
        lane.due_in
        + (_ALL_THE_SAME if due_soon.tells((lane.task_name, lane.handler), lane.due_in) else 0.0)
        for lane in due
        if 0 < lane.due_in < _TICK and lane.task_name in names
    ]


def _until_due(due_in: Sequence[float], rest: float) -> float:
    """Return the seconds until the next turn, no less than a rest."""
    return min(max(min(due_in, default=_TICK), _SHORTEST, rest), _TICK)
