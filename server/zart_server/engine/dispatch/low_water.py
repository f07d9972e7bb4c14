"""Low-water marks: where looks have come to in each lane, so that none begins at its head.

While somebody holds a snapshot open, PostgreSQL cannot forget the index entries of tasks that are
gone, and a look from the head reads all of them first. So claims that get all they want go on from
where the last one came to. What comes to stand before such a mark, since it was committed late or
was locked by a claim that did not take it, is found by a look at all lanes, after a moment or when
a claim finds less than it wants. That too begins at marks, which are some seconds older. What may
stand before those is looked for by maintenance (``looking_back``). Where hints of other servers may
have been lost, of what they have put back, all looks begin at the heads again.

So claims at the same moment, which all go on in the lanes that the last look has told, may empty
those and get fewer tasks than they want, while there are more in others. As long as they get all
they want, looks at all lanes take a twentieth of the time. Where the lanes told are empty, one
claim looks at all of them at a time, and no longer than the rest between two looks. A call that got
nothing in that rest has not seen all lanes: it looks once the rest is over (``rests``), unless a
look of another call has found since that nothing is left (``is_emptied``).

Looks that find lanes by the queue (``may_skip``) are for many lanes, and have no marks to begin at.
Where lanes turn out to be few, or the look took long, they are looked up one by one for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from zart_server.store.claims import ClaimResult
from zart_server.store.due import AnyDue, Begin, DueLane, DueLanes
from zart_server.store.queue import LaneCursor

_KEPT = 0.25  # seconds between two looks at all lanes while claims get what they want
_CHEAP = 0.005  # seconds that a look at all lanes may take without a rest after it
_SHARE = 20  # what it takes beyond that may be one in so many of all seconds
_LONGEST = 1.0  # seconds that claims go on in the lanes told, unless the look took longer
_FEW = 5.0  # seconds until lanes that were few are counted again
_SLOW = 0.02  # seconds that a look by the queue may take
_RESTS = 60.0  # seconds without such looks after two that took longer
_OLD = timedelta(seconds=2.5)  # no transaction that matters here takes longer
_USED = 30.0  # seconds
_FORGOTTEN = 300.0  # seconds unused, which no call waits, until a set of lanes is forgotten
_MOST = 1000  # sets of lanes that are kept in mind
_MOST_NAMES = 100_000  # of tasks and handlers in all of them, each of which has up to 255 bytes
_Lanes: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Look:
    """The findings of a look at all lanes: no task stood before ``begin`` at that time."""

    at: datetime
    begin: Begin


@dataclass(slots=True)
class _Marks:
    """The marks of one set of lanes, for claims and for looks at all of it."""

    hot: dict[int, LaneCursor] = field(default_factory=dict)
    is_hot_until: float = 0.0
    rests_until: float = 0.0
    seconds: float = 0.0  # that the last look at all lanes took
    cost: float = 0.0  # what one may be taken to cost
    skips_from: float = 0.0
    emptied_from: float = -math.inf  # when the last look began that left nothing
    old: _Look | None = None
    last: _Look | None = None
    used_at: float = field(default_factory=time.monotonic)  # by claims
    touched_at: float = 0.0  # by anything
    is_dry: bool = False  # nothing was found for the last call
    asked: frozenset[str] | None = None  # its handlers, once they were looked for one by one

    @property
    def begin(self) -> Begin:
        """Where a look at all lanes begins."""
        begin = Begin() if self.old is None else self.old.begin
        return replace(begin, may_skip=time.monotonic() >= self.skips_from)

    def took(self, begin: Begin, seconds: float, *, are_many: bool) -> None:
        """Note how long a look at all lanes took."""
        # Once may have been the machine's doing.
        seconds, self.seconds = min(seconds, self.seconds), seconds
        self.cost = max(seconds - _CHEAP, 0)
        if begin.may_skip and not are_many:
            self.skips_from = time.monotonic() + _FEW
        elif begin.may_skip and seconds > _SLOW:
            self.skips_from = time.monotonic() + _RESTS

    def looked(self, at: datetime, begin: Begin, old: timedelta) -> None:
        """Note what a look at all lanes has found; it counts once it is ``old``."""
        if self.last is None:
            self.last = _Look(at, begin)
        elif at - self.last.at >= old:
            self.old, self.last = self.last, _Look(at, begin)

    def lower(self, lanes: Sequence[DueLane]) -> None:
        """Have the next looks see tasks that were put back at the cursors of these lanes."""
        for lane in lanes:
            if lane.lane in self.hot:
                self.hot[lane.lane] = min(self.hot[lane.lane], lane.cursor)
        self.old, self.last = (
            look and _Look(look.at, _lowered(look.begin, lanes)) for look in (self.old, self.last)
        )

    def begin_anew(self) -> None:
        """Have the next looks see whatever there is."""
        self.hot, self.is_hot_until, self.emptied_from = {}, 0.0, -math.inf
        # Their times stay: what a look has found that is under way counts after another one only.
        self.old, self.last = (look and _Look(look.at, Begin()) for look in (self.old, self.last))


def _lowered(begin: Begin, lanes: Sequence[DueLane]) -> Begin:
    since = None if begin.since is None else (begin.since, 0)
    lower: dict[int, LaneCursor] = {}
    for lane in lanes:
        known = lower.get(lane.lane) or begin.cursors.get(lane.lane, since)
        if known is not None and known > lane.cursor:
            lower[lane.lane] = lane.cursor
    return Begin({**begin.cursors, **lower}, begin.since) if lower else begin


class LowWater:
    """The low-water marks of one server, for each set of tasks and handlers that is asked for.

    A look at all lanes begins where one ended that is ``old``.
    """

    def __init__(self, old: timedelta = _OLD) -> None:
        self._old = old
        self._marks: dict[_Lanes, _Marks] = {}
        self.names_held = 0  # in all sets of lanes

    def to_claim(self, task_names: Sequence[str], handlers: Sequence[str]) -> Begin:
        """Return from where on a claim looks now: the lanes of the last ones, or all."""
        marks = self._of(task_names, handlers)
        marks.used_at = time.monotonic()
        if marks.hot and marks.used_at < marks.is_hot_until:
            return Begin(marks.hot, is_only=True)
        return marks.begin

    def to_look(self, task_names: Sequence[str], handlers: Sequence[str] = ()) -> Begin:
        """Return from where on to look at all lanes."""
        return self._of(task_names, handlers).begin

    def take_look(self, task_names: Sequence[str], handlers: Sequence[str]) -> bool:
        """Return whether a claim that found less than it wants is to look at all lanes already.

        If it is, others wait for what it finds.
        """
        marks = self._of(task_names, handlers)
        now = time.monotonic()
        if now < marks.rests_until:
            return False
        marks.rests_until = now + marks.cost
        return True

    def rests(self, task_names: Sequence[str], handlers: Sequence[str]) -> float:
        """Return in how many seconds a claim that came too early may look at all lanes."""
        marks = self._of(task_names, handlers)
        return max(marks.rests_until - time.monotonic(), 0.0) if marks.hot else 0.0

    def emptied(self, task_names: Sequence[str], handlers: Sequence[str], began: float) -> None:
        """Note that a look at all lanes found fewer than its claim wanted, and when it ``began``.

        Times are those of ``time.monotonic``.
        """
        marks = self._of(task_names, handlers)
        marks.emptied_from = max(marks.emptied_from, began)

    def is_emptied(self, task_names: Sequence[str], handlers: Sequence[str], since: float) -> bool:
        """Return whether a look at all lanes that began after ``since`` has left nothing."""
        return self._of(task_names, handlers).emptied_from >= since

    def claimed(
        self,
        task_names: Sequence[str],
        handlers: Sequence[str],
        begin: Begin,
        found: ClaimResult,
        *,
        is_enough: bool,
    ) -> None:
        """Note what a claim has found that began at ``begin``."""
        marks = self._of(task_names, handlers)
        now = time.monotonic()
        if begin.is_only:
            hot = {**marks.hot}
        else:
            hot = {**found.heads}
            heads = list(found.heads.values())
            since = found.now if found.is_all_told else heads[-1][0]
            marks.looked(found.now, Begin(found.heads, since), self._old)
            marks.took(begin, found.seconds, are_many=found.are_many)
            marks.rests_until = now + marks.cost
            kept = min(marks.cost * _SHARE, max(marks.cost, _LONGEST))
            marks.is_hot_until = now + max(_KEPT if is_enough else 0.0, kept)
        for item in found.claimed:
            cursor = item.not_before, item.queue_no
            if item.lane not in hot or hot[item.lane] < cursor:
                hot[item.lane] = cursor
        marks.hot = hot

    def is_dry(self, task_names: Sequence[str], handlers: Sequence[str]) -> bool:
        """Return whether the last look for these found nothing, as far as that is known."""
        return self._of(task_names, handlers).is_dry

    def found_any(
        self, task_names: Sequence[str], handlers: Sequence[str], *, is_any: bool
    ) -> None:
        """Note whether a look for these found any task."""
        self._of(task_names, handlers).is_dry = not is_any

    def task_names(self) -> set[str]:
        """Return the tasks that somebody claimed lately, or tried to; forget what is unused."""
        now = time.monotonic()
        for lanes in [
            lanes for lanes, marks in self._marks.items() if marks.touched_at < now - _FORGOTTEN
        ]:
            self._forget(lanes)
        since = now - _USED
        return {
            name
            for (task_names, _), marks in self._marks.items()
            if marks.used_at > since
            for name in task_names
        }

    def looked(
        self, task_names: Sequence[str], begin: Begin, due: DueLanes, seconds: float
    ) -> None:
        """Note what a look at all lanes of these tasks found, and how many seconds it took."""
        marks = self._of(task_names, ())
        marks.took(begin, seconds, are_many=due.are_many)
        if due.is_all:
            cursors = {lane.lane: lane.cursor for lane in due.lanes if lane.due_in <= 0}
            marks.looked(due.now, Begin(cursors, due.now), self._old)

    def looked_in_vain(
        self, task_names: Sequence[str], handlers: Sequence[str], begin: Begin, due: AnyDue
    ) -> None:
        """Note that a look from ``begin`` found nothing that is due."""
        marks = self._of(task_names, handlers)
        marks.took(begin, 0, are_many=due.are_many)
        marks.looked(due.now, Begin({}, due.now), self._old)

    def begin_anew(self) -> None:
        """Have all looks begin at the heads of the lanes: tasks may be back there unheard of.

        Or the lanes are not those that are marked: a failover gave the numbers to other tasks.
        """
        for marks in self._marks.values():
            marks.begin_anew()

    def put_back(self, lanes: Sequence[DueLane]) -> None:
        """Note that tasks stand at these cursors, which may be before the marks."""
        of_task: dict[str, list[DueLane]] = {}
        for lane in lanes:
            of_task.setdefault(lane.task_name, []).append(lane)
        for (task_names, handlers), marks in self._marks.items():
            found = [lane for name in task_names if name in of_task for lane in of_task[name]]
            if found and handlers:
                # Both may be ten thousand: neither is looked for in the other one by one.
                if marks.asked is None:
                    marks.asked = frozenset(handlers)
                found = [lane for lane in found if lane.handler in marks.asked]
            if found:
                marks.lower(found)

    def _of(self, task_names: Sequence[str], handlers: Sequence[str]) -> _Marks:
        key = tuple(task_names), tuple(handlers)
        marks = self._marks.get(key)
        if marks is None:
            self._make_room(len(key[0]) + len(key[1]))
            marks = self._marks[key] = _Marks()
        marks.touched_at = time.monotonic()
        return marks

    def _make_room(self, names: int) -> None:
        """Have room for one more set of lanes, of so many names: forget the longest unused."""
        if len(self._marks) >= _MOST or self.names_held + names > _MOST_NAMES:
            # An eighth of all at once: so the next ones need not sort them again.
            most, most_names = _MOST * 7 // 8, _MOST_NAMES * 7 // 8 - names
            by_use = sorted(self._marks.items(), key=lambda kept: kept[1].touched_at)
            for lanes, _ in by_use:
                if len(self._marks) <= most and self.names_held <= most_names:
                    break
                self._forget(lanes)
        self.names_held += names

    def _forget(self, lanes: _Lanes) -> None:
        del self._marks[lanes]
        self.names_held -= len(lanes[0]) + len(lanes[1])
