"""Keeps stored graphs at hand; they never change, so only memory limits how many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from zart_server.store.stored_graph import Definition

# Some 40,000 steps without inputs: more than are in use at once, and little beside the 256 MiB that
# a server is given. Inline graphs differ in their inputs, so each execution may bring its own.
_MOST = 32 * 1024 * 1024


class DefinitionCache:
    """The graphs used last, of at most ``most`` bytes of memory together, or one that is larger."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._memory = 0
        self._definitions: OrderedDict[int, Definition] = OrderedDict()
        self._current: dict[str, int] = {}

    def add(self, definition: Definition) -> None:
        """Keep a graph, dropping the ones used longest ago."""
        if definition.definition_key in self._definitions:
            self._definitions.move_to_end(definition.definition_key)
            return
        self._definitions[definition.definition_key] = definition
        self._memory += definition.graph.memory
        while self._memory > self._most and len(self._definitions) > 1:
            key, dropped = self._definitions.popitem(last=False)
            self._memory -= dropped.graph.memory
            if self._current.get(dropped.task_name) == key:
                del self._current[dropped.task_name]

    def add_all(self, definitions: Iterable[Definition]) -> None:
        """Keep graphs, the last ones longest."""
        for definition in definitions:
            self.add(definition)

    def add_current(self, definition: Definition) -> None:
        """Keep a graph as the one that its task had last."""
        self.add(definition)
        self._current[definition.task_name] = definition.definition_key

    def last_current(self, task_name: str) -> Definition | None:
        """Return the graph that a task had when somebody looked last; None: none is at hand.

        It may have another one by now, which whoever makes use of it has to find out.
        """
        definition = self._definitions.get(self._current.get(task_name, 0))
        if definition is not None:
            self._definitions.move_to_end(definition.definition_key)
        return definition

    def at_hand(self, keys: Iterable[int]) -> dict[int, Definition]:
        """Return those of the graphs that are at hand, by key."""
        found = {key: graph for key in keys if (graph := self._definitions.get(key)) is not None}
        for key in found:
            self._definitions.move_to_end(key)
        return found
