"""Keeps stored graphs at hand; they never change, so only memory limits how many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from zart_server.store.stored_graph import Definition


class DefinitionCache:
    """The graphs used last, at most ``max_steps`` steps together."""

    def __init__(self, max_steps: int = 200_000) -> None:
        self._max_steps = max_steps
        self._steps = 0
        self._definitions: OrderedDict[int, Definition] = OrderedDict()
        self._current: dict[str, int] = {}

    def add(self, definition: Definition) -> None:
        """Keep a graph, dropping the ones used longest ago."""
        if definition.definition_key in self._definitions:
            self._definitions.move_to_end(definition.definition_key)
            return
        self._definitions[definition.definition_key] = definition
        self._steps += len(definition.graph.steps)
        while self._steps > self._max_steps and len(self._definitions) > 1:
            key, dropped = self._definitions.popitem(last=False)
            self._steps -= len(dropped.graph.steps)
            if self._current.get(dropped.task_name) == key:
                del self._current[dropped.task_name]

    def add_current(self, definition: Definition) -> None:
        """Keep a graph as the one that its task had last."""
        self.add(definition)
        self._current[definition.task_name] = definition.definition_key

    def last_current(self, task_name: str) -> Definition | None:
        """Return the graph that a task had when somebody looked last; None: none is at hand.

        It may have another one by now, which whoever makes use of it has to find out.
        """
        return self._definitions.get(self._current.get(task_name, 0))

    def at_hand(self, keys: Iterable[int]) -> dict[int, Definition]:
        """Return those of the graphs that are at hand, by key."""
        found = {key: graph for key in keys if (graph := self._definitions.get(key)) is not None}
        for key in found:
            self._definitions.move_to_end(key)
        return found
