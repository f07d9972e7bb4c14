"""How values are distributed: what a histogram shows, at the cost of a list's entry for each."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence

# Upper bounds in seconds: of what a server does itself, and of what steps wait and run for.
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FOLDED_AT = 4096


class Distribution:
    """Counts values by upper bounds, and sums them up; any thread may add and read.

    A value costs an entry of a list. They are sorted and counted once there are many, or on being
    read: a hundredth of what it takes to find the bucket of each as it comes.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._values: list[float] = []
        self._counts = [0] * (len(self.bounds) + 1)  # by bound; those above all bounds last
        self._sum = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Count values."""
        with self._lock:
            self._values.extend(values)
            if len(self._values) >= _FOLDED_AT:
                self._fold()

    def read(self) -> tuple[list[int], float]:
        """Return how many values there were up to each bound and in all, and their sum."""
        with self._lock:
            self._fold()
            counts, total = list(self._counts), self._sum
        for index in range(1, len(counts)):
            counts[index] += counts[index - 1]
        return counts, total

    def _fold(self) -> None:
        values, self._values = sorted(self._values), []
        begin = 0
        for index, bound in enumerate(self.bounds):
            end = bisect_right(values, bound, begin)
            self._counts[index] += end - begin
            begin = end
        self._counts[-1] += len(values) - begin
        self._sum += sum(values)
