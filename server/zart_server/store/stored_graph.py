"""A stored graph of steps, as statements know it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from zart_server.domain.graph import Graph
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.json_text import utf8_size

_AROUND = 16  # bytes, at most: the tags and lengths of a result with its name


def bytes_of_name(step_name: str) -> int:
    """Return how many bytes a step's name takes before its result, or alone.

    With what is written around them; a step may wait for thousands.
    """
    return utf8_size(step_name) + _AROUND


class QueuedAs(NamedTuple):
    """What every queue row of a step has of its definition, and which correction it is for."""

    lane: int
    step_name: str
    max_attempts: int
    timeout_seconds: float
    correction: int = 0


@dataclass(frozen=True)
class Definition:
    """A stored graph. ``lanes`` by step number; ``version`` 0: an inline graph."""

    definition_key: int
    task_name: str
    version: int
    graph: Graph
    lanes: tuple[int, ...]

    @cached_property
    def stops(self) -> frozenset[int]:
        """The numbers of the steps that are not run again while an attempt is in doubt."""
        return frozenset(
            number
            for number, step in enumerate(self.graph.steps)
            if step.if_in_doubt is IfInDoubt.STOP
        )

    @cached_property
    def widest(self) -> int:
        """How many steps depend on one of them at most."""
        return max(map(len, self.graph.dependants), default=0)

    @cached_property
    def input_bytes(self) -> tuple[int, ...]:
        """How many bytes the input of each step has, by step number."""
        return tuple(utf8_size(step.input_json or "") for step in self.graph.steps)

    @cached_property
    def name_bytes(self) -> tuple[int, ...]:
        """How many bytes the name of each step takes in an answer, by step number."""
        return tuple(bytes_of_name(step.step_name) for step in self.graph.steps)

    @cached_property
    def queued(self) -> tuple[QueuedAs, ...]:
        """What queue rows have of it, by step number."""
        return tuple(
            QueuedAs(
                lane,
                step.step_name,
                step.retry_policy.max_attempts,
                step.timeout.total_seconds(),
            )
            for lane, step in zip(self.lanes, self.graph.steps, strict=True)
        )
