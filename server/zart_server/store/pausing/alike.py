"""Asks of steps by the rules at hand, of those that all rules see alike only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from zart_server.domain.rule_set import StepNames
from zart_server.store.caches.pause_rules import PauseCache

T = TypeVar("T")


class Alike(Generic[T]):
    """Answers that are the same for all steps of the same names and the same rules behind them.

    But for steps of executions that a rule names or exempts: each of those is asked by itself.
    """

    def __init__(self, pauses: PauseCache, ask: Callable[[StepNames], T]) -> None:
        self._pauses = pauses
        self._ask = ask
        self._since = pauses.since
        self._known: dict[tuple[str, str, tuple[int, ...]], T] = {}

    def of(self, step: StepNames) -> T:
        """Return the answer for a step, by the rules that are at hand now."""
        if self._since != self._pauses.since:
            self._since = self._pauses.since
            self._known.clear()
        execution_id, task_name, step_name, *let_go = step
        if self._pauses.knows(execution_id):
            return self._ask(step)
        alike = task_name, step_name, tuple(let_go[0]) if let_go else ()
        if alike not in self._known:
            self._known[alike] = self._ask(step)
        return self._known[alike]
