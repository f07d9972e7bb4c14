"""The graph of steps of a task definition or of an inline start, checked once."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from zart_server.domain.errors import InvalidField, PayloadTooLarge, TooManyItems
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.json_text import utf8_size
from zart_server.domain.model import RetryPolicy, StepSpec

MAX_STEPS = 10_000
MAX_EDGES = 100_000
# Every answer about a graph of so many bytes fits into a message of 16 MiB: its names beside 420
# bytes of each step and 3 of each edge into one about a run, once that leaves out what it may; its
# names and inputs beside 75 bytes of each step into one about a definition.
MAX_NAME_BYTES = 8 * 1024 * 1024
MAX_GRAPH_BYTES = 14 * 1024 * 1024
_SHOWN = 6  # steps of a cycle
# Bytes of memory beside texts, as measured: of a graph, of a step, of a name in its depends_on.
_GRAPH, _STEP, _EDGE = 1_000, 650, 24
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Graph:
    """Steps by number (their index in ``steps``), with their edges in both directions.

    ``roots`` depend on nothing, nothing depends on ``sinks``. ``memory``: about how many bytes it
    takes, with what is worked out of it and kept. It is known from the start: a thousand large
    graphs are linked in a thread, and looked through nowhere else.
    """

    steps: tuple[StepSpec, ...]
    index: Mapping[str, int]
    depends_on: tuple[tuple[int, ...], ...]
    dependants: tuple[tuple[int, ...], ...]
    roots: tuple[int, ...]
    sinks: tuple[int, ...]
    memory: int

    @classmethod
    def of(cls, steps: Sequence[StepSpec], field: str = "steps") -> Graph:
        """Check steps and link them; ``field`` is what the request calls them.

        Raises InvalidField or TooManyItems.
        """
        if not steps:
            raise InvalidField(field, "at least one step is needed")
        if len(steps) > MAX_STEPS:
            raise TooManyItems(field, len(steps), MAX_STEPS)
        refuse_edges(sum(len(step.depends_on) for step in steps), field)
        index: dict[str, int] = {}
        for number, step in enumerate(steps):
            if index.setdefault(step.step_name, number) != number:
                raise InvalidField(
                    f"{field}[{number}].step_name", f"{step.step_name!r} is there twice"
                )
        depends_on = tuple(_link(steps, number, index, field) for number in range(len(steps)))
        dependants: list[list[int]] = [[] for _ in steps]
        for number, deps in enumerate(depends_on):
            for dep in deps:
                dependants[dep].append(number)
        graph = cls(
            steps=tuple(steps),
            index=index,
            depends_on=depends_on,
            dependants=tuple(map(tuple, dependants)),
            roots=tuple(number for number, deps in enumerate(depends_on) if not deps),
            sinks=tuple(number for number, after in enumerate(dependants) if not after),
            memory=_GRAPH + sum(map(memory_of, steps)),
        )
        graph._refuse_cycle(field)
        return graph

    @cached_property
    def size(self) -> int:
        """About how many bytes its stored form has, which tells how long work on it takes."""
        inputs = sum(len(step.input_json or "") for step in self.steps)
        return 150 * len(self.steps) + 30 * sum(map(len, self.depends_on)) + inputs

    @cached_property
    def name_bytes(self) -> int:
        """How many bytes its names have: of steps, of handlers, and of what steps depend on."""
        sizes = [utf8_size(step.step_name) for step in self.steps]
        handlers = sum(utf8_size(step.handler or step.step_name) for step in self.steps)
        return sum(sizes) + handlers + sum(sizes[dep] for deps in self.depends_on for dep in deps)

    def in_order(self) -> list[int]:
        """Return the step numbers with dependencies first; shorter than ``steps`` in a cycle."""
        waiting = [len(deps) for deps in self.depends_on]
        order = list(self.roots)
        for number in order:  # grows while it is read
            for after in self.dependants[number]:
                waiting[after] -= 1
                if waiting[after] == 0:
                    order.append(after)
        return order

    def _refuse_cycle(self, field: str) -> None:
        order = self.in_order()
        if len(order) == len(self.steps):
            return
        # Every step left over has a dependency left over: going back from any one ends in a cycle.
        left = set(range(len(self.steps))).difference(order)
        path = [min(left)]
        seen = {path[0]: 0}
        while True:
            dep = next(d for d in self.depends_on[path[-1]] if d in left)
            if dep in seen:
                break
            seen[dep] = len(path)
            path.append(dep)
        cycle = [*path[seen[dep] :], dep]
        names = [self.steps[number].step_name for number in cycle]
        if len(names) > _SHOWN:
            names[_SHOWN - 2 : -1] = [f"({len(names) + 1 - _SHOWN} more)"]
        raise InvalidField(f"{field}[{dep}].depends_on", f"a cycle: {' → '.join(names)}")


def memory_of(step: StepSpec) -> int:
    """Return about how many bytes of memory a step takes, with its share of its graph.

    A text with one wide character takes up to four bytes for each, which its size as UTF-8 hides.
    """
    names = sys.getsizeof(step.step_name) + sys.getsizeof(step.handler)
    edges = sum(map(sys.getsizeof, step.depends_on)) + _EDGE * len(step.depends_on)
    return _STEP + names + edges + sys.getsizeof(step.input_json or "")


def refuse_edges(count: int, field: str) -> None:
    """Raise TooManyItems where the steps of a graph name too many dependencies together."""
    if count > MAX_EDGES:
        raise TooManyItems(f"{field}[].depends_on", count, MAX_EDGES)


def _refuse_bytes(graph: Graph, field: str) -> None:
    """Raise PayloadTooLarge where names, or they and the inputs, are too large for answers."""
    names = graph.name_bytes
    if names > MAX_NAME_BYTES:
        raise PayloadTooLarge(
            field,
            names,
            MAX_NAME_BYTES,
            "of names of steps, of handlers, and in depends_on",
            "shorten the names, or depend on fewer",
        )
    size = names + sum(utf8_size(step.input_json or "") for step in graph.steps)
    if size > MAX_GRAPH_BYTES:
        raise PayloadTooLarge(
            field,
            size,
            MAX_GRAPH_BYTES,
            "of inputs, as JSON, and of names",
            "keep inputs elsewhere, and pass where they are",
        )


def _link(
    steps: Sequence[StepSpec], number: int, index: Mapping[str, int], field: str
) -> tuple[int, ...]:
    linked: dict[int, None] = {}
    for position, name in enumerate(steps[number].depends_on):
        dep = index.get(name)
        if dep is None:
            problem = f"no step {name!r} in this graph"
        elif dep == number:
            problem = "a step cannot depend on itself"
        elif dep in linked:
            problem = f"{name!r} is there twice"
        else:
            linked[dep] = None
            continue
        raise InvalidField(f"{field}[{number}].depends_on[{position}]", problem)
    return tuple(linked)


def to_json(steps: Sequence[StepSpec]) -> str:
    """Return the canonical stored form: the same steps give the same text, inputs stay exact."""
    return json.dumps(
        [
            {
                "step_name": step.step_name,
                "depends_on": step.depends_on,
                "handler": step.handler or step.step_name,
                "input_json": step.input_json,
                "max_attempts": step.retry_policy.max_attempts,
                "initial_backoff_us": step.retry_policy.initial_backoff // _MICROSECOND,
                "backoff_multiplier": float(step.retry_policy.backoff_multiplier),
                "max_backoff_us": step.retry_policy.max_backoff // _MICROSECOND,
                "timeout_us": step.timeout // _MICROSECOND,
            }
            # Only where it says something: graphs without it are the same as ever.
            | ({} if step.if_in_doubt is IfInDoubt.RETRY else {"if_in_doubt": step.if_in_doubt})
            for step in steps
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def from_json(text: str) -> tuple[StepSpec, ...]:
    """Read the stored form."""
    return tuple(
        StepSpec(
            step_name=item["step_name"],
            depends_on=tuple(item["depends_on"]),
            handler=item["handler"],
            input_json=item["input_json"],
            retry_policy=RetryPolicy(
                max_attempts=item["max_attempts"],
                initial_backoff=item["initial_backoff_us"] * _MICROSECOND,
                backoff_multiplier=item["backoff_multiplier"],
                max_backoff=item["max_backoff_us"] * _MICROSECOND,
            ),
            timeout=item["timeout_us"] * _MICROSECOND,
            if_in_doubt=IfInDoubt(item.get("if_in_doubt", IfInDoubt.RETRY)),
        )
        for item in json.loads(text)
    )


@dataclass(frozen=True, slots=True)
class WrittenGraph:
    """A graph with its stored form and the SHA-256 of that, which is equal for equal graphs.

    A request of a thousand graphs takes a second to write. It is written where it is decoded:
    PostgreSQL ends a transaction that says nothing for so long.
    """

    graph: Graph
    text: str
    content_hash: bytes

    @classmethod
    def of(cls, steps: Sequence[StepSpec], field: str = "steps") -> WrittenGraph:
        """Check and link steps as ``Graph.of`` does, and write them.

        Raises PayloadTooLarge, too. A graph that is stored may be larger, from before there was a
        bound.
        """
        graph = Graph.of(steps, field)
        _refuse_bytes(graph, field)
        text = to_json(graph.steps)
        return cls(graph, text, hashlib.sha256(text.encode()).digest())
