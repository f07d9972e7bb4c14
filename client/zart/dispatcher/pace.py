"""How far ahead a dispatcher leases: for quick handlers some, so that no slot waits for a call."""

from __future__ import annotations

_AHEAD = 0.1  # seconds of work
_MOST_TASKS = 1000  # one call leases no more
_WINDOW = 0.05  # seconds over which the pace is taken
_UNRECORDED = 2000  # two full calls: with more outcomes to record, the server is behind
_FEW = 4  # less than this part of the slots is few to ask for
PATIENCE = 0.01  # seconds after an answer for which asking for few is put off


class Pace:
    """Follows how many tasks end in a second. Times are the event loop's, in seconds."""

    def __init__(self, concurrency: int, now: float) -> None:
        self._concurrency = concurrency
        self._ended = 0
        self._since = now
        self._in_a_second = 0.0

    def one_ended(self) -> None:
        """Note that a task has ended."""
        self._ended += 1

    def room(self, busy: int, held: int, now: float, answered_at: float) -> int:
        """How many tasks to ask for now; 0: wait until more have ended.

        ``busy`` tasks run or wait for a slot, ``held`` are those and all whose outcomes are not
        recorded. The last call was answered at ``answered_at``. An idle dispatcher always has room
        that is worth a call; a busy one lets a little gather, but not for long.
        """
        ahead = self._ahead(now)
        most = self._concurrency + ahead
        room = min(most - busy, most + _UNRECORDED - held, _MOST_TASKS)
        worth_it = max(1, ahead // 2, self._concurrency // _FEW)
        is_patient = now < answered_at + PATIENCE
        return 0 if room < 1 or (room < worth_it and is_patient) else room

    def _ahead(self, now: float) -> int:
        """How many tasks to hold beyond the slots: what they get done in a tenth of a second.

        None where that is less than one for each slot: what one dispatcher hoards, another might
        run.
        """
        if now - self._since >= _WINDOW:
            self._in_a_second = self._ended / (now - self._since)
            self._since, self._ended = now, 0
        ahead = int(_AHEAD * self._in_a_second)
        return min(ahead, _MOST_TASKS) if ahead >= self._concurrency else 0
