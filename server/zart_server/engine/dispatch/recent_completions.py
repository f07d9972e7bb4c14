"""Keeps in mind for some seconds what one server completed: a breaker may be made meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from zart_server.store.leases import LeaseKey

_MOST = 50_000  # attempts


class RecentCompletions:
    """The leases of the attempts that were completed in the last seconds.

    ``kept`` is how many seconds they are kept: each server learns sooner of a breaker.
    """

    def __init__(self, kept: float = 5.0) -> None:
        self._kept = kept
        self._batches: deque[tuple[float, Sequence[LeaseKey]]] = deque()
        self._count = 0

    def add(self, completed: Sequence[LeaseKey]) -> None:
        """Keep these in mind, as they are: a batch costs the same, however large it is."""
        self._batches.append((time.monotonic(), completed))
        self._count += len(completed)
        self._forget()

    def leased_since(self, token: int) -> list[LeaseKey]:
        """Return those whose tokens are greater."""
        self._forget()
        return [one for _, batch in self._batches for one in batch if one.token > token]

    def _forget(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        oldest = time.monotonic() - self._kept
        while self._batches and (self._batches[0][0] <= oldest or self._count > _MOST):
            _, gone = self._batches.popleft()
            self._count -= len(gone)
