"""Which steps stand in the way of one that waits for others, directly or through others."""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

from zart_server.domain.graph import Graph


def dead_behind(
    graph: Graph, waiting: Sequence[int], unfinished: AbstractSet[int], dead: Collection[int]
) -> dict[int, list[int]]:
    """Return, for each waiting step, the nearest dead ones that it depends on, in order.

    Each edge between steps that are not completed is looked at twice at most.
    """
    numbers = sorted(dead)
    if not numbers:
        return {}
    bits = {number: 1 << n for n, number in enumerate(numbers)}
    found = dict(bits)
    stack = list(waiting)
    while stack:
        number = stack[-1]
        if number in found:
            stack.pop()
            continue
        deps = [d for d in graph.depends_on[number] if d in unfinished or d in bits]
        missing = [dep for dep in deps if dep not in found]
        if missing:
            stack += missing
        else:
            found[number] = functools.reduce(operator.or_, (found[dep] for dep in deps), 0)
    return {number: _chosen(numbers, found[number]) for number in waiting}


def _chosen(numbers: Sequence[int], bits: int) -> list[int]:
    chosen = []
    while bits:
        lowest = bits & -bits
        chosen.append(numbers[lowest.bit_length() - 1])
        bits ^= lowest
    return chosen


def first_to_end(graph: Graph, waiting: int, unfinished: AbstractSet[int]) -> int:
    """Return a step that a waiting one depends on, through others, and that waits for none."""
    number = waiting
    while True:
        before = next((dep for dep in graph.depends_on[number] if dep in unfinished), None)
        if before is None:
            return number
        number = before
