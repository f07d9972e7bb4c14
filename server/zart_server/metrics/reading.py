"""Reads from the database what metrics show of it: one reading at a time, kept for ten seconds."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from datetime import datetime

from zart_server.domain.errors import ZartError
from zart_server.engine.background.looks import DueLooks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.reads import backlog, standing

_log = logging.getLogger(__name__)
_KEPT = 10.0  # seconds
_SHOWN = 60.0  # for which a reading is shown while there is no newer one
# In which one reading looks for the oldest step; beyond that tasks take turns. So few are looked up
# one by one, which costs the least.
_LANES = 250
_PATIENCE = 2.0  # that a scrape waits


@dataclass(frozen=True, slots=True)
class DatabaseReading:
    """What was read, at ``at`` by the monotonic clock, and how many seconds that took.

    Counts are by the key of the lane. ``oldest`` has seconds, by task: the age that was seen when
    it was looked for, to which nothing is added until the next look. ``looked`` are the tasks whose
    oldest step has been looked for: those that ``oldest`` lacks have none that is ready.
    ``oldest_ended``: seconds since the first rule ended of which steps are still to be moved back.
    """

    queued: dict[int, float]
    leased: dict[int, float]
    oldest: dict[str, float]
    paused: backlog.EstimatedPaused
    dead: Sequence[backlog.Dead]
    rules: Sequence[standing.StandingRule]
    breakers: Sequence[standing.BreakersInState]
    batches: Sequence[standing.StandingBatch]
    in_doubt: dict[str, int]
    oldest_ended: float
    lanes: dict[int, str] = field(default_factory=dict)
    looked: frozenset[str] = frozenset()
    at: float = 0.0
    seconds: float = 0.0


@dataclass
class DatabaseReader:
    """Reads in the loop of the server, for scrapes in other threads.

    A scrape waits a moment for the reading under way; while there is none, as when the database is
    out of reach, it shows the last one, and after a minute none.
    """

    db: Database
    loop: asyncio.AbstractEventLoop
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: DatabaseReading | None = None
    _failed_at: float = 0.0
    _history: str | None = None  # of the database, to which belongs what is below
    _lanes: dict[int, str] = field(default_factory=dict)
    _looks: DueLooks = field(default_factory=lambda: DueLooks(LowWater()))
    _next: int = 0  # the task from which on the next reading looks for the oldest steps
    # How many readings do not look at a task of which one found many lanes.
    _rests: dict[str, int] = field(default_factory=dict)
    # For how many seconds they had been due when they were looked at: they may be leased since.
    _oldest: dict[str, float] = field(default_factory=dict)
    _looked: set[str] = field(default_factory=set)

    def newest(self) -> DatabaseReading | None:
        """Return the newest reading, made now if the last one is old. Not in the loop's thread."""
        came = time.monotonic()
        with self._lock:
            last = self._last
            is_old = last is None or time.monotonic() >= last.at + _KEPT
            if is_old and self._failed_at < came:  # else what this waited for was to no avail
                self._read_anew()
        last = self._last
        return last if last is not None and time.monotonic() < last.at + _SHOWN else None

    def _read_anew(self) -> None:
        reading = asyncio.run_coroutine_threadsafe(self._read(), self.loop)
        try:
            self._last = reading.result(_PATIENCE)
        except TimeoutError:
            reading.cancel()
            self._fail(f"it was not read within {_PATIENCE:g} s: it is slow, or locks are held")
        except CancelledError:
            self._fail("the server stops")
        except ZartError as error:
            self._fail(str(error))
        except Exception:  # noqa: BLE001 - a defect: all else is told nevertheless
            self._failed_at = time.monotonic()
            _log.exception("metrics lack what is in the database")

    def _fail(self, why: str) -> None:
        self._failed_at = time.monotonic()
        _log.warning("metrics lack what is in the database: %s", why)

    async def _read(self) -> DatabaseReading:
        async with self.db.autocommit() as connection:
            began = time.monotonic()
            self._keep_to_history()
            await self._read_lanes(connection)
            parts = await backlog.read_parts(connection)
            await self._look_for_oldest(connection, parts.now)
            rules = await standing.read_standing_rules(connection)
            # Releases first: that one stands is told as long as anything is left.
            keys = [rule.rule_key for rule in sorted(rules, key=lambda rule: rule.rate is None)]
            reading = DatabaseReading(
                queued=await backlog.estimate_queued(connection, parts.queue),
                leased=await backlog.estimate_leased(connection, parts.leases),
                oldest=dict(self._oldest),
                paused=await backlog.estimate_paused(connection, parts.held, keys),
                dead=await backlog.estimate_dead(connection, parts.dead_steps),
                rules=rules,
                breakers=await standing.count_breakers(connection),
                batches=await standing.read_standing_batches(connection),
                in_doubt=await standing.count_in_doubt(connection),
                oldest_ended=await standing.read_oldest_ended(connection),
            )
            # Last: a lane may be new that was counted.
            await self._read_lanes(connection)
            await self._read_late_lanes(connection, reading)
        ended = time.monotonic()
        return replace(
            reading,
            lanes=dict(self._lanes),
            looked=frozenset(self._looked),
            at=ended,
            seconds=ended - began,
        )

    def _keep_to_history(self) -> None:
        """Begin anew in another history: a failover gives numbers of lost lanes to other tasks."""
        if self._history != self.db.history:
            self._history = self.db.history
            self._lanes, self._rests, self._oldest, self._looked = {}, {}, {}, set()
            self._looks = DueLooks(LowWater())

    async def _read_lanes(self, connection: Connection) -> None:
        while found := await standing.read_lanes(connection, max(self._lanes, default=0)):
            self._lanes |= {lane.lane: lane.task_name for lane in found}

    async def _read_late_lanes(self, connection: Connection, reading: DatabaseReading) -> None:
        """Read the lanes that came after ones of higher numbers had been read."""
        named = {*reading.queued, *reading.leased, *reading.paused.by_lane}
        if unknown := named - self._lanes.keys():
            found = await standing.read_named_lanes(connection, unknown)
            self._lanes |= {lane.lane: lane.task_name for lane in found}

    async def _look_for_oldest(self, connection: Connection, now: datetime) -> None:
        looked = self._in_turn()
        found = await self._looks.look(connection, looked) if looked else []
        self._rests = {name: left - 1 for name, left in self._rests.items() if left > 1}
        for name, lanes in Counter(lane.task_name for lane in found).items():
            if lanes > _LANES:
                self._rests[name] = (lanes - 1) // _LANES
        self._looked.update(looked)
        for name in looked:
            self._oldest.pop(name, None)
        for lane in found:
            age = (now - lane.cursor[0]).total_seconds()
            if age >= 0:  # else it is not due
                self._oldest[lane.task_name] = max(age, self._oldest.get(lane.task_name, 0.0))

    def _in_turn(self) -> list[str]:
        """Return the tasks to look at now: one, or more if they have few lanes; none that rests."""
        lanes = Counter(self._lanes.values())  # in the order in which they came
        names = list(lanes)
        begin = self._next if self._next < len(names) else 0
        looked: list[str] = []
        room = _LANES
        for at in (*range(begin, len(names)), *range(begin)):
            name = names[at]
            if name in self._rests:
                continue
            if looked and lanes[name] > room:
                self._next = at
                break
            looked.append(name)
            room -= lanes[name]
        return looked
