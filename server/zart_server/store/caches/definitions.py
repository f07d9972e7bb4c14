"""Keeps stored graphs at hand; they never change, so only memory limits how many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from zart_server.store.connection import Connection
from zart_server.store.definitions import Definition, read_definitions


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

    async def get(self, connection: Connection, keys: Iterable[int]) -> dict[int, Definition]:
        """Return graphs by key, reading those that are not at hand in one statement."""
        wanted = set(keys)
        missing = wanted - self._definitions.keys()
        found = {key: self._definitions[key] for key in wanted - missing}
        for key in found:
            self._definitions.move_to_end(key)
        if missing:
            for definition in await read_definitions(connection, missing):
                self.add(definition)
                found[definition.definition_key] = definition
        return found

    async def one(self, connection: Connection, key: int) -> Definition:
        """Return one graph."""
        return (await self.get(connection, (key,)))[key]
