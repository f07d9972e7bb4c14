"""How far ahead a dispatcher leases: for quick handlers some, so that no slot waits for a call."""

from __future__ import annotations

_AHEAD = 0.1  # seconds of work
_MOST = 2000  # what a busy server needs under way: its answers take a tenth of a second too
_MOST_ROUNDS = 32  # times the slots
_WINDOW = 0.005  # busy seconds over which the pace is taken


class Pace:
    """Follows how many tasks end in a second in which any run. Times are the event loop's."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._ended = 0
        self._busy = 0.0
        self._since: float | None = None
        self._in_a_second = 0.0

    def busy(self, now: float) -> None:
        """Note that there is something to run."""
        if self._since is None:
            self._since = now

    def idle(self, now: float) -> None:
        """Note that there is nothing to run any more."""
        if self._since is not None:
            self._busy += now - self._since
            self._since = None

    def one_ended(self) -> None:
        """Note that a task has ended."""
        self._ended += 1

    def ahead(self, now: float) -> int:
        """How many tasks to hold beyond the slots: what they get done in a tenth of a second.

        None where that is less than one for each slot: what one dispatcher hoards, another might
        run.
        """
        if self._since is not None:
            self._busy += now - self._since
            self._since = now
        if self._busy >= _WINDOW:
            self._in_a_second = self._ended / self._busy
            self._busy, self._ended = 0.0, 0
        ahead = int(_AHEAD * self._in_a_second)
        most = min(_MOST, _MOST_ROUNDS * self._concurrency)
        return min(ahead, most) if ahead >= self._concurrency else 0
