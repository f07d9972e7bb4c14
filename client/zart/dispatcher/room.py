"""How many more tasks a dispatcher takes on."""

from __future__ import annotations

from collections.abc import Sized

from zart.dispatcher.pace import Pace

_AT_ONCE = 1000  # one call leases no more
_UNRECORDED = 2000  # two full calls: with more outcomes to record, the server is behind
_FEW = 4  # less than this part is few to ask for
PATIENCE = 0.01  # seconds after an answer for which asking for few is put off


class Room:
    """Counts what is held, asked for, and expected. Times are the event loop's, in seconds.

    ``busy`` tasks run or wait for a slot, ``held`` are those and all whose outcomes are not
    recorded. ``asked`` are asked for in a call that leases. ``expected`` outcomes may bring the
    next step along in the answer to their report: their slots are kept for it.
    """

    def __init__(self, concurrency: int, pace: Pace, busy: Sized, held: Sized) -> None:
        self._concurrency = concurrency
        self._pace = pace
        self._busy = busy
        self._held = held
        self.asked = 0
        self.expected = 0

    def to_lease(self, now: float, answered_at: float) -> int:
        """How many tasks to ask for now; 0: wait until more have ended.

        The last call was answered at ``answered_at``. An idle dispatcher always has room that is
        worth a call. A busy one lets more gather: of slots for a moment only, of what it leases
        ahead as long as that lasts.
        """
        ahead = self._pace.ahead(now)
        most = self._concurrency + ahead
        taken = len(self._busy) + self.asked + self.expected
        room = min(most - taken, most + _UNRECORDED - len(self._held), _AT_ONCE)
        worth_it = max(1, (ahead or self._concurrency) // _FEW)
        is_patient = ahead > 0 or now < answered_at + PATIENCE
        return 0 if room < 1 or (room < worth_it and is_patient) else room

    def to_follow(self, outcomes: int, now: float) -> int:
        """How many steps to take on that these of the expected outcomes make ready."""
        taken = len(self._busy) + self.asked + self.expected
        room = self._concurrency + self._pace.ahead(now) - taken
        return max(0, min(outcomes, outcomes + room))
