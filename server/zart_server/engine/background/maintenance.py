"""Maintenance, without a call: ends expired leases and rules, and wakes long polls for due tasks.

Safe to run on every replica: each piece of work is a guarded transaction that skips the rows that
another replica has locked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence

from zart_server.domain.dispatch import Lost, Outcome
from zart_server.domain.errors import ZartError
from zart_server.domain.model import ReportStatus
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.looks import DueLooks, ExpiredLooks
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.engine.background.releases import Releases
from zart_server.engine.background.untold_deaths import tell_untold_deaths
from zart_server.engine.background.watches import Watches
from zart_server.engine.dispatch.dispatch import Dispatch
from zart_server.engine.dispatch.due_soon import DueSoon
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.operations.resume import expire
from zart_server.store.changes import SOON
from zart_server.store.db import Database
from zart_server.store.definitions import touch_asked
from zart_server.store.due import DueLane
from zart_server.store.leases import ExpiredLease
from zart_server.store.pausing.rules import pauses_due
from zart_server.store.queue import task_id_of
from zart_server.store.requests import purge_requests

_log = logging.getLogger(__name__)
_TICK = SOON  # seconds between two looks, unless something is known to be due earlier
_SHORTEST = 0.01
# Seconds from when a task is due of which this server wakes calls by itself until a look all the
# same: behind it in its lane there may be one that another server queued.
_ALL_THE_SAME = 0.25
# Looks for due tasks take a tenth of the time: where many steps back off, some task is due at each
# moment. No rest is longer: a turn that had to wait tells nothing of what looks cost.
_REST, _LONGEST_REST = 9, 0.1  # times as long as the last turn took; seconds
_BEHIND = 0.05  # seconds between two looks while more leases have expired than one ends
_ASKED_EVERY = 5.0
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
        self,
        db: Database,
        dispatch: Dispatch,
        due_soon: DueSoon,
        watches: Watches,
        sweeps: PauseSweeps,
        drains: Drains,
        releases: Releases,
        breakers: Breakers,
    ) -> None:
        super().__init__("maintenance", first=0.0)
        self._db = db
        self._releases = releases
        self._breakers = breakers
        self._sweeps = sweeps
        self._drains = drains
        self._dispatch = dispatch
        self._due_soon = due_soon
        self._watches = watches
        self._expiring: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._expired = ExpiredLooks()
        self._due = DueLooks(dispatch.low_water)
        self.looked_at = time.monotonic()  # when a look was last over
        self._noted: dict[str, float] = {}  # when a task that is asked for was noted last
        self._rests_until = 0.0  # from looks for due tasks; by time.monotonic
        self._purged = 0  # blocks of the requests that were looked at for old ones, of all
        self._next = {"watches": 0.0, "untold": 0.0, "purge": 0.0}

    async def stop(self) -> None:
        """End the loop; work under way is rolled back, and another replica does it."""
        for timer in self._timers:
            timer.cancel()
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
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
        lanes = sorted(names | self._dispatch.low_water.task_names())
        async with self._db.autocommit() as connection:
            expired = await self._expired.look(connection)
            pauses = await pauses_due(connection)
            due = await self._due.look(connection, lanes) if lanes else []
        later = _later(due, names, self._due_soon)
        self._dispatch.long_polls.wake(
            {(lane.task_name, lane.handler): 1000 for lane in due if lane.due_in <= 0}
        )
        if pauses.is_work_left:
            self._sweeps.kick()
        if pauses.is_any_undrained:
            self._drains.kick()
        if pauses.is_any_releasing:
            self._releases.kick()
        if pauses.is_any_breaker:
            self._breakers.begin()
        if expired:
            await self._sweep(expired)
        if pauses.expires_in is not None and pauses.expires_in <= 0:
            self._begin_to_expire()
        await self._now_and_then(names)
        self.looked_at = time.monotonic()
        rest = min(_REST * (self.looked_at - began), _LONGEST_REST)
        self._rests_until = self.looked_at + rest
        if len(expired) >= ExpiredLooks.MOST:
            return _BEHIND
        return _pause(later, pauses.expires_in, rest)

    def _begin_to_expire(self) -> None:
        """Delete expired rules in a task of its own, as that may wait long for the pause lock."""
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.create_task(self._expire(), name="expiry")

    async def _expire(self) -> None:
        try:
            async with self._db.autocommit() as connection:
                await expire(connection)
            self.kick()
        except ZartError as error:
            _log.warning("the end of pause rules has to wait: %s", error.message)
        except Exception:  # noqa: BLE001 - told in full; it is tried again
            _log.exception("the end of pause rules failed; it is tried again")

    async def _sweep(self, expired: Sequence[ExpiredLease]) -> None:
        """End expired leases as LOST or TIMED_OUT, unless they are extended or reported first."""
        outcomes = []
        for item in expired:
            run_key, step_no, token, principal = item.lease
            lost = Lost(item.dispatcher_id, item.is_overdue)
            # The attempt's number is not part of the guard: the token is.
            outcomes.append(Outcome(task_id_of(run_key, step_no, 0), token, lost, principal))
        async with self._db.transaction() as tx:
            batch = await find_batch(tx, outcomes)
            recorded = await record_in_general(tx, batch, swept=True)
        self._dispatch.tally.swept(recorded)
        swept = sum(status is ReportStatus.RECORDED for status in recorded.statuses.values())
        if swept:
            _log.info("swept %d expired leases", swept)

    async def _note_asked(self, names: set[str], now: float) -> None:
        """Note which tasks are asked for: each few seconds, but one that was not before at once."""
        asked = self._dispatch.asked | names
        self._noted = {name: at for name, at in self._noted.items() if now - at < _ASKED_EVERY}
        if asked <= self._noted.keys():
            return
        async with self._db.autocommit() as connection:
            await touch_asked(connection, asked)  # all of them, so that they stay together
        self._dispatch.asked -= asked
        self._noted = dict.fromkeys(asked, now)

    async def _now_and_then(self, names: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        await self._note_asked(names, now)
        if now >= self._next["watches"]:
            self._next["watches"] = now + _WATCHES_EVERY
            await self._watches.poll()
        if now >= self._next["untold"]:
            self._next["untold"] = now + _UNTOLD_EVERY
            for _ in range(_UNTOLD_PIECES):
                if not await tell_untold_deaths(self._db):
                    break
        if now >= self._next["purge"]:
            self._next["purge"] = now + _PURGE_EVERY
            async with self._db.autocommit() as connection:
                is_more = await purge_requests(connection, self._purged, _PURGE)
            self._purged = self._purged + _PURGE if is_more else 0
            if is_more:
                ended = asyncio.get_running_loop().time()
                rest = max(_PURGE_NEXT, _PURGE_REST * (ended - now))
                self._next["purge"] = ended + min(rest, _PURGE_EVERY)


def _later(due: Sequence[DueLane], names: Collection[str], due_soon: DueSoon) -> list[float]:
    """Return in how many seconds to look for what is due soon in each lane of these tasks."""
    return [
        lane.due_in
        + (_ALL_THE_SAME if due_soon.tells((lane.task_name, lane.handler), lane.due_in) else 0.0)
        for lane in due
        if 0 < lane.due_in < _TICK and lane.task_name in names
    ]


def _pause(due_in: Sequence[float], expires_in: float | None, rest: float) -> float:
    """Return the seconds until the next turn: due tasks wait for the end of a rest, rules not."""
    pause = max(min(due_in, default=_TICK), _SHORTEST, rest)
    if expires_in is not None and expires_in > 0:
        pause = min(pause, max(expires_in, _SHORTEST))
    return min(pause, _TICK)
