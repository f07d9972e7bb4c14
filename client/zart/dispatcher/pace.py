"""How far ahead a dispatcher leases: for quick handlers some, so that no slot waits for a call."""

from __future__ import annotations

_AHEAD = 0.1  # seconds of work
_MOST = 32  # times the slots
_MOST_TASKS = 1000  # one call leases no more
_WEIGHT = 0.1


class Pace:
    """Follows how long handlers take."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._seconds: float | None = None

    def took(self, seconds: float) -> None:
        """Note how long a handler took."""
        if self._seconds is None:
            self._seconds = seconds
        else:
            self._seconds += _WEIGHT * (seconds - self._seconds)

    def ahead(self) -> int:
        """How many tasks to hold beyond the slots: what they get done in a tenth of a second.

        None for handlers that take longer: what one dispatcher hoards, another might run.
        """
        if self._seconds is None:
            return 0
        rounds = _AHEAD / max(self._seconds, _AHEAD / _MOST)
        return min(int(self._concurrency * rounds), _MOST_TASKS) if rounds >= 1 else 0

    def worth_asking(self) -> int:
        """For how many tasks a call is worth it; an idle dispatcher always has room for them."""
        return max(1, self.ahead() // 2)
