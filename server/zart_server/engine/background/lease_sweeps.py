"""Sweeps leases past their end: their attempts are LOST, or TIMED_OUT.

Safe to run on every replica: a sweep passes over the runs that another transaction has locked.
Where somebody holds another row of a run for long, its leases wait, and no others: such runs are
passed over for a while.

A lease past its end is good until it is swept. Dispatchers that had no server to speak to, since
the database was away, say, come back with outcomes and extensions: after such a time they are
heard first, each for as long as its lease was to last, and for ten seconds at most.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from zart_server.domain.dispatch import Lost, Outcome
from zart_server.domain.errors import OperationTimeout, StoreConflict
from zart_server.domain.model import ReportStatus
from zart_server.engine.background.looks import ExpiredLooks
from zart_server.engine.background.loop import WAITS, BackgroundLoop
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.dispatch.tally import Tally
from zart_server.store.changes import SOON
from zart_server.store.db import Database
from zart_server.store.leases import ExpiredLease
from zart_server.store.locked_rows import find_locked_runs
from zart_server.store.patience import at_most
from zart_server.store.queue import task_id_of

_log = logging.getLogger(__name__)
_TICK = SOON  # seconds between two looks
_BEHIND = 0.05  # likewise, while more leases have expired than one look finds
# Enough for whoever changes rows of a run as we do; a person's session has them for minutes.
_BRIEFLY = at_most(0.2)
_TRIES = 2.0  # seconds in which a turn looks for what it is that cannot be swept
_PARTS, _SINGLY = 16, 40  # how many at a time; as few runs are tried one by one
# Seconds for which runs are passed over, each time twice as long: locked ones, as by a report that
# takes milliseconds, and those of which another row is.
_PASSED_OVER, _BLOCKED, _LONGEST_PASSED_OVER = 0.5, 2.0, 10.0
_GAP = timedelta(seconds=5)  # without a look: nobody may have been there to speak to
_HEARD = 10.0  # seconds, in which any dispatcher has found a server
_HEARD_SELDOM = 60.0  # seconds from one such time to the next: sweeps must go on


@dataclass(slots=True)
class _PassedOver:
    """A run whose leases could not be swept; by time.monotonic, and in seconds."""

    until: float
    wait: float


class LeaseSweeps(BackgroundLoop):
    """The sweep of expired leases of one server."""

    def __init__(self, db: Database, tally: Tally) -> None:
        super().__init__("sweeping expired leases", first=0.0)
        self._db = db
        self._tally = tally
        self._looks = ExpiredLooks()
        self._passed_over: dict[int, _PassedOver] = {}  # by run
        self._heard_since = -math.inf  # when dispatchers could speak again, by time.monotonic
        self._is_first = True
        self._looked_at = time.monotonic()  # when a look was last over
        self.done_at = self._looked_at  # when what it found was swept, but for what others hold

    async def turn(self) -> float:
        """Sweep what has expired; return the seconds until the next look."""
        now = time.monotonic()
        without = [run for run, one in self._passed_over.items() if one.until > now]
        async with self._db.autocommit() as connection:
            found = await self._looks.look(connection, without)
        self._note_gap(found.overdue)
        self._looked_at = time.monotonic()
        heard = self._looked_at - self._heard_since
        expired = [one for one in found.leases if heard > min(_HEARD, one.lease_seconds)]
        is_more = bool(expired) and await self._sweep(expired)
        self.done_at = time.monotonic()
        for run in self._passed_over.keys() - {one.lease.run_key for one in expired}:
            if run not in without:  # it is swept, or has spoken
                del self._passed_over[run]
        return _BEHIND if is_more or len(expired) >= ExpiredLooks.MOST else _TICK

    def _note_gap(self, overdue: timedelta | None) -> None:
        """Note that nobody may have been there for a while, if no look was taken for as long.

        A server that has just begun knows it by a lease that others would have swept.
        """
        now = time.monotonic()
        was_away = self._is_first and overdue is not None and overdue > _GAP
        is_gap = was_away or now - self._looked_at > _GAP.total_seconds()
        self._is_first = False
        if is_gap and now - self._heard_since > _HEARD_SELDOM:
            self._heard_since = now
            _log.info("expired leases are swept once their dispatchers had time to speak")

    async def _sweep(self, expired: Sequence[ExpiredLease]) -> bool:
        """End leases, unless they are extended or reported first; go around what is in the way.

        Return whether some were not tried, or only together with others that are in the way.
        """
        until = time.monotonic() + _TRIES
        pieces, swept, blocked = [list(expired)], 0, set[int]()
        while pieces and time.monotonic() < until:
            piece = pieces.pop()
            try:
                ended, locked = await self._end(piece)
            except (StoreConflict, OperationTimeout):
                locked = await self._locked(piece)
                blocked |= locked
                runs = {one.lease.run_key for one in piece} - locked
                if len(runs) == 1 and not locked:
                    blocked |= runs
                else:  # what is locked otherwise is found by parts
                    pieces += _parts(piece, runs, 1 if locked else _PARTS)
            else:
                swept += ended
                self._pass_over(locked, _PASSED_OVER)
        self._pass_over(blocked, _BLOCKED)
        if swept:
            _log.info("swept %d expired leases", swept)
        if blocked:
            self.count_as(WAITS)
            _log.warning("expired leases of %d runs wait: others hold rows of these", len(blocked))
        return bool(pieces)

    async def _locked(self, expired: Sequence[ExpiredLease]) -> set[int]:
        """Return the runs of which somebody has locked a lease or a step of these."""
        with contextlib.suppress(StoreConflict, OperationTimeout):  # as of a locked table
            async with self._db.transaction(first=_BRIEFLY) as tx:
                return await find_locked_runs(tx, [one.lease for one in expired])
        return set()

    async def _end(self, expired: Sequence[ExpiredLease]) -> tuple[int, set[int]]:
        """End leases; return how many, and the runs that others have locked."""
        outcomes = []
        for item in expired:
            run_key, step_no, token, principal = item.lease
            lost = Lost(item.dispatcher_id, item.is_overdue)
            # The attempt's number is not part of the guard: the token is.
            outcomes.append(Outcome(task_id_of(run_key, step_no, 0), token, lost, principal))
        async with self._db.transaction(first=_BRIEFLY) as tx:
            batch = await find_batch(tx, outcomes)
            recorded = await record_in_general(tx, batch, swept=True)
        self._tally.swept(recorded)
        locked = {expired[n].lease.run_key for n in recorded.stragglers}
        return sum(one is ReportStatus.RECORDED for one in recorded.statuses.values()), locked

    def _pass_over(self, runs: Iterable[int], first: float) -> None:
        """Leave the leases of runs out of the next looks, the longer the more often that was so."""
        now = time.monotonic()
        for run in runs:
            before = self._passed_over.get(run)
            wait = first if before is None else min(2 * before.wait, _LONGEST_PASSED_OVER)
            self._passed_over[run] = _PassedOver(now + wait, wait)


def _parts(
    expired: Sequence[ExpiredLease], runs: Iterable[int], count: int
) -> list[list[ExpiredLease]]:
    """Divide the leases of runs, by chance: no run is always the one that there is no time for."""
    left = list(runs)
    random.shuffle(left)
    if count > 1 and len(left) <= _SINGLY:
        count = len(left)
    groups = [set(left[number::count]) for number in range(count)]
    return [[one for one in expired if one.lease.run_key in group] for group in groups if group]
