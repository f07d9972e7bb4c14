"""Which tasks have a label of their own in metrics: those with most to tell; all others share one.

Callers choose the names of tasks, so that there is no end of them.
"""

from __future__ import annotations

from collections import Counter

OTHER = "other"
_KNOWN = 10_000  # tasks of which it is kept in mind how much there was to tell
_STAYS = 2  # times as much as a task with a label there has to be to tell of one that displaces it


class TaskLabels:
    """Chooses the labels of at most ``most`` tasks; for one thread at a time.

    A task has a label as soon as it is met, as long as there are any left; ``rank`` gives those of
    tasks of which there is little to tell to others. What was counted before stays where it was
    counted, so that no counter ever becomes less.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weights: Counter[str] = Counter()
        self.named: set[str] = set()

    def of(self, task_name: str, weight: float = 1) -> str:
        """Return the label of a task of which there is something to tell."""
        self._weights[task_name] += weight  # type: ignore[assignment]  # halves are weights too
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
        weights = self._weights
        ranked = sorted(
            weights,
            key=lambda name: weights[name] * (_STAYS if name in self.named else 1),
            reverse=True,
        )
        self.named = set(ranked[: self._most])
        kept = ranked[: _KNOWN // 2]
        self._weights = Counter({name: weights[name] / 2 for name in kept})
