"""How many tasks a dispatcher leases ahead: some for quick handlers, so that no slot is idle."""

from __future__ import annotations

_AHEAD = 0.1  # seconds of work
_MOST = 2000  # so many keep a busy server busy: its answers take a tenth of a second too
_MOST_ROUNDS = 32  # times the slots
_WINDOW = 0.005  # busy seconds over which the pace is measured


class Pace:
    """Measures how many tasks end per busy second. Times are those of the event loop's clock.

    A second is busy if any task runs in it.
    """

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
        """Return how many tasks to have in hand beyond the slots: a tenth of a second's work.

        0 if that is less than one task for each slot: another dispatcher might run them now.
        """
        soon = self.soon(now)
        most = min(_MOST, _MOST_ROUNDS * self._concurrency)
        return min(soon, most) if soon >= self._concurrency else 0

    def soon(self, now: float) -> int:
        """Return how many tasks end in a tenth of a second, by the pace of late."""
        if self._since is not None:
            self._busy += now - self._since
            self._since = now
        if self._busy >= _WINDOW:
            self._in_a_second = self._ended / self._busy
            self._busy, self._ended = 0.0, 0
        return int(_AHEAD * self._in_a_second)
