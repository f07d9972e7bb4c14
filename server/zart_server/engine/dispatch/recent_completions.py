"""Keeps in mind for some seconds what one server completed: a breaker may be made meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.dispatch import Completed, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.outcome_batch import Recorded

_MOST = 50_000  # attempts


class CompletedAttempt(NamedTuple):
    """A completed attempt, by its task and the token of its lease."""

    task_id: str
    token: int


class RecentCompletions:
    """The attempts that were completed in the last seconds.

    ``kept`` is how many seconds they are kept: each server learns sooner of a breaker.
    """

    def __init__(self, kept: float = 5.0) -> None:
        self._kept = kept
        self._batches: deque[tuple[float, list[CompletedAttempt]]] = deque()
        self._count = 0

    def add(self, outcomes: Sequence[Outcome], recorded: Recorded) -> None:
        """Keep in mind those of the outcomes that were recorded and completed their step."""
        done = [
            CompletedAttempt(outcome.task_id, outcome.lease_token)
            for number, status in recorded.statuses.items()
            if status is ReportStatus.RECORDED
            and isinstance((outcome := outcomes[number]).ending, Completed)
        ]
        self._batches.append((time.monotonic(), done))
        self._count += len(done)
        self._forget()

    def leased_since(self, token: int) -> list[CompletedAttempt]:
        """Return the attempts whose tokens are greater."""
        self._forget()
        return [one for _, batch in self._batches for one in batch if one.token > token]

    def _forget(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        oldest = time.monotonic() - self._kept
        while self._batches and (self._batches[0][0] <= oldest or self._count > _MOST):
            _, gone = self._batches.popleft()
            self._count -= len(gone)
