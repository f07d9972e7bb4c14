"""How many more tasks a dispatcher may lease."""

from __future__ import annotations

from collections.abc import Sized

from zart.dispatcher.pace import Pace

AT_ONCE = 1000  # one call leases no more
_UNRECORDED = 2000  # two full reports: if more outcomes wait, the server is behind
_FEW = 4  # less than this part of what fits is too few for a call
_AT_WORK = 32  # tasks: with so many, each may wait a few milliseconds for the sake of few calls


class Room:
    """Counts the tasks in hand, asked for, and expected. Times are seconds of the loop's clock.

    ``busy``: tasks that run or wait for a slot. ``in_hand``: those, and tasks whose outcomes are
    not recorded yet. ``asked``: tasks that a call under way asks for. ``expected``: steps that
    reports may lease, whose slots are kept for them: one for an outcome, or two that it asked for.
    """

    def __init__(self, concurrency: int, pace: Pace, busy: Sized, in_hand: Sized) -> None:
        self._concurrency = concurrency
        self._pace = pace
        self._busy = busy
        self._in_hand = in_hand
        self.asked = 0
        self.expected = 0

    def is_at_work(self, now: float) -> bool:
        """Return whether many tasks run, none of them quick: then calls gather for a moment.

        Quick ones are leased ahead, and come in large numbers by themselves. Where no slot is free,
        the next report or lease fills one: nobody gathers then.
        """
        busy = len(self._busy)
        if not _AT_WORK <= busy < self._concurrency - self.expected:
            return False
        return not self._pace.ahead(now)

    def to_lease(self, now: float, *, is_patient: bool, is_short: bool = False) -> int:
        """Return how many tasks to ask for now; 0: wait until more tasks have ended.

        ``is_patient``: a call was answered only a moment ago. An idle dispatcher asks at once. A
        busy one waits until a call is worth it: for free slots only while ``is_patient``, for tasks
        ahead as long as some are left. ``is_short``: that answer had fewer tasks than it was asked
        for. The next ones have yet to become ready: a dispatcher at work lets them gather.
        """
        ahead = self._pace.ahead(now)
        most = self._concurrency + ahead
        taken = len(self._busy) + self.asked + self.expected
        room = min(most - taken, most + _UNRECORDED - len(self._in_hand), AT_ONCE)
        worth_it = max(1, (ahead or self._concurrency) // _FEW)
        waits = room < worth_it and (is_patient or ahead > 0)
        gathers = is_patient and is_short and self.is_at_work(now)
        return 0 if room < 1 or waits or gathers else room

    def to_lease_eagerly(self, outcomes: int, now: float) -> int:
        """Return how many steps a report of so many expected outcomes may lease eagerly.

        One for each outcome; and up to as many again where several steps follow one, if slots are
        free for them, but no more than end in a tenth of a second. So many may wait that long: of
        the slots that a call under way asks for, a quarter is asked for once more.
        """
        most = self._concurrency + self._pace.ahead(now)
        soon = self._pace.soon(now)
        free = most - len(self._busy) - self.expected
        shared = max(0, min(free // _FEW, soon))
        spare = free - max(0, self.asked - shared)
        unrecorded = max(0, most + _UNRECORDED - len(self._in_hand))
        return max(0, min(outcomes + min(spare, outcomes, soon, unrecorded), AT_ONCE))
