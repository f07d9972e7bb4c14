"""Which tasks have a label of their own in metrics: those with most to tell; all others share one.

Callers choose the names of tasks, so that there is no end of them. One of which most attempts fail
has a label first: among the others, which do well, nobody would see it.
"""

from __future__ import annotations

from collections import Counter

OTHER = "other"
_KNOWN = 10_000  # tasks of which it is kept in mind how much there was to tell
_STAYS = 2  # times as much as a task with a label there has to be to tell of one that displaces it
_FAILS = 2  # more attempts that failed than went well, about in the last minute: no mere chance


class TaskLabels:
    """Chooses the labels of at most ``most`` tasks; for one thread at a time.

    A task has a label as soon as it is met, as long as there are any left; ``rank`` gives those of
    tasks of which there is little to tell to others. What was counted before stays where it was
    counted, so that no counter ever becomes less.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weights: Counter[str] = Counter()
        self._failing: Counter[str] = Counter()  # attempts that failed, less those that went well
        self.named: set[str] = set()

    def of(self, task_name: str, weight: float = 1, failed: int = 0) -> str:
        """Return the label of a task of which there is something to tell.

        ``failed`` attempts; below 0: so many that went well.
        """
        self._weights[task_name] += weight  # type: ignore[assignment]  # halves are weights too
        if failed:
            self._failing[task_name] += failed
        if task_name in self.named:
            return task_name
        if len(self.named) < self._most:
            self.named.add(task_name)
            return task_name
        if len(self._weights) > _KNOWN:
            self.rank()
        return OTHER

    def rank(self) -> None:
        """Give the labels to the tasks of which there was most to tell, lately most of all."""
        weights, failing = self._weights, self._failing
        ranked = sorted(
            weights,
            key=lambda name: (
                failing[name] >= _FAILS,
                weights[name] * (_STAYS if name in self.named else 1),
            ),
            reverse=True,
        )
        self.named = set(ranked[: self._most])
        kept = ranked[: _KNOWN // 2]
        self._weights = Counter({name: weights[name] / 2 for name in kept})
        self._failing = Counter({name: failing[name] / 2 for name in kept if name in failing})
