"""Keeps in mind for some seconds what one server completed: a breaker may be made meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from zart_server.domain.dispatch import Completed, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.outcome_batch import Recorded
from zart_server.store.leases import LeaseKey

_KEPT = 5.0  # seconds; each server learns sooner of a breaker
_MOST = 50_000  # attempts


class RecentCompletions:
    """The attempts that were completed in the last seconds, by no more than their leases."""

    def __init__(self) -> None:
        self._batches: deque[tuple[float, list[tuple[str, int]]]] = deque()
        self._count = 0

    def add(self, outcomes: Sequence[Outcome], recorded: Recorded) -> None:
        """Keep in mind those of the outcomes that were recorded and completed their step."""
        now = time.monotonic()
        done = [
            (outcome.task_id, outcome.lease_token)
            for number, status in recorded.statuses.items()
            if status is ReportStatus.RECORDED
            and isinstance((outcome := outcomes[number]).ending, Completed)
        ]
        self._batches.append((now, done))
        self._count += len(done)
        while self._batches[0][0] < now - _KEPT or self._count > _MOST:
            _, gone = self._batches.popleft()
            self._count -= len(gone)
            if not self._batches:
                break

    def leases(self) -> list[LeaseKey]:
        """Return the leases of the attempts."""
        found = [
            LeaseKey.of_task(task_id, token, "")
            for _, batch in self._batches
            for task_id, token in batch
        ]
        return [lease for lease in found if lease is not None]
