"""Counts what the dispatch path of one server does, for whoever asks, batch by batch."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.distribution import SIZES, STEP_SECONDS, Distribution
from zart_server.domain.model import AttemptStatus, ReportStatus
from zart_server.domain.task_labels import OTHER, TaskLabels
from zart_server.engine.dispatch.outcome_batch import Recorded

_MOST_TASKS = 20
_FAILED = frozenset({AttemptStatus.FAILED, AttemptStatus.TIMED_OUT, AttemptStatus.LOST})


@dataclass(frozen=True, slots=True)
class Tallied:
    """What was counted until now. ``waits`` and ``runs``: seconds, by the label of the task."""

    attempts: Mapping[tuple[str, AttemptStatus], int]
    leases_lost: Mapping[str, int]
    outcomes: Mapping[ReportStatus, int]
    waits: Mapping[str, Distribution]
    runs: Mapping[str, Distribution]


class Tally:
    """Counts what is committed; any thread may read it.

    What is counted by task is counted under the label that the task has at that moment.
    """

    def __init__(self, most_tasks: int = _MOST_TASKS) -> None:
        self._lock = threading.Lock()
        self._labels = TaskLabels(most_tasks)
        self._attempts: Counter[tuple[str, AttemptStatus]] = Counter()
        self._leases_lost: Counter[str] = Counter()
        self._outcomes: Counter[ReportStatus] = Counter()
        self._waits: defaultdict[str, Distribution] = defaultdict(_of_steps)
        self._runs: defaultdict[str, Distribution] = defaultdict(_of_steps)
        self.claims = Distribution(SIZES)  # tasks of one claim
        self.reports = Distribution(SIZES)  # outcomes of one transaction

    def claimed(self, tasks: Sequence[LeasedTask]) -> None:
        """Count tasks that one claim has leased from the queue."""
        self.claims.add([len(tasks)])
        self.leased(tasks)

    def leased(self, tasks: Iterable[LeasedTask]) -> None:
        """Count tasks that were leased, and how long each had been ready."""
        waited: dict[str, list[float]] = {}
        for task in tasks:
            waited.setdefault(task.task_name, []).append(task.waited)
        with self._lock:
            for name, seconds in waited.items():
                self._waits[self._labels.of(name, len(seconds))].add(seconds)

    def recorded(self, recorded: Recorded) -> None:
        """Count the outcomes of a report's transaction, and what was leased along with it."""
        self.reports.add([len(recorded.statuses)])
        with self._lock:
            self._reported(list(recorded.statuses.values()))
            self._ended(recorded)
        if recorded.tasks:
            self.leased(task for _, task in recorded.tasks)

    def swept(self, recorded: Recorded) -> None:
        """Count the attempts whose leases the server found expired."""
        with self._lock:
            for (name, _), seconds in recorded.ended.items():
                self._leases_lost[self._labels.of(name, 0)] += len(seconds)
            self._ended(recorded)

    def abandoned(self, attempts: Mapping[str, int]) -> None:
        """Count attempts that operations broke off, by task."""
        with self._lock:
            for name, count in attempts.items():
                self._attempts[self._labels.of(name, count), AttemptStatus.ABANDONED] += count

    def weigh(self, weights: Mapping[str, int]) -> None:
        """Note of how much there is to tell of tasks besides, of which labels are to be kept."""
        with self._lock:
            for name, weight in weights.items():
                self._labels.of(name, weight)

    def rank(self) -> None:
        """Give the labels to the tasks of which there is most to tell now."""
        with self._lock:
            self._labels.rank()
            named = self._labels.named | {OTHER}
            for name in (self._waits.keys() | self._runs.keys()) - named:
                self._waits.pop(name, None)
                self._runs.pop(name, None)
            for key in [key for key in self._attempts if key[0] not in named]:
                del self._attempts[key]
            for name in self._leases_lost.keys() - named:
                del self._leases_lost[name]

    def read(self) -> Tallied:
        """Return what was counted until now."""
        with self._lock:
            return Tallied(
                dict(self._attempts),
                dict(self._leases_lost),
                dict(self._outcomes),
                dict(self._waits),
                dict(self._runs),
            )

    def _reported(self, statuses: list[ReportStatus]) -> None:
        count = statuses.count(ReportStatus.RECORDED)  # which compares by identity first
        self._outcomes[ReportStatus.RECORDED] += count
        if count < len(statuses):
            self._outcomes.update(s for s in statuses if s is not ReportStatus.RECORDED)

    def _ended(self, recorded: Recorded) -> None:
        for (name, status), seconds in recorded.ended.items():
            count = len(seconds)
            label = self._labels.of(name, count, count if status in _FAILED else -count)
            self._attempts[label, status] += len(seconds)
            self._runs[label].add(seconds)


def _of_steps() -> Distribution:
    return Distribution(STEP_SECONDS)
