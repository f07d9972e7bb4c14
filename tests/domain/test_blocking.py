"""What stands in a step's way is what a search from that step alone finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.blocking import dead_behind, first_to_end
from zart_server.domain.graph import Graph
from zart_server.domain.model import StepSpec


@st.composite
def runs(draw: st.DrawFn) -> tuple[Graph, set[int], set[int]]:
    """Return a graph, with which of its steps are open and which dead."""
    count = draw(st.integers(1, 12))
    specs = [
        StepSpec(str(n), tuple(map(str, draw(st.sets(st.integers(0, n - 1), max_size=4)))))
        if n
        else StepSpec("0")
        for n in range(count)
    ]
    states = draw(st.lists(st.sampled_from(["open", "dead", "done"]), min_size=count))
    unfinished = {n for n in range(count) if states[n] == "open"}
    return Graph.of(specs), unfinished, {n for n in range(count) if states[n] == "dead"}


def behind(graph: Graph, number: int, left: set[int]) -> set[int]:
    """Return what a step depends on by ways that are not completed."""
    found: set[int] = set()
    stack = [number]
    while stack:
        new = {dep for dep in graph.depends_on[stack.pop()] if dep in left} - found
        found |= new
        stack += new
    return found


def nearest_dead(graph: Graph, number: int, unfinished: set[int], dead: set[int]) -> set[int]:
    """Return dead steps that are reached without passing through another dead one."""
    found: set[int] = set()
    stack, seen = [number], {number}
    while stack:
        for dep in graph.depends_on[stack.pop()]:
            if dep in dead:
                found.add(dep)
            elif dep in unfinished and dep not in seen:
                seen.add(dep)
                stack.append(dep)
    return found


@given(runs())
def test_the_dead_ones_behind_each_step(run: tuple[Graph, set[int], set[int]]) -> None:
    graph, unfinished, dead = run
    found = dead_behind(graph, sorted(unfinished), unfinished, dead)

    assert {n: set(numbers) for n, numbers in found.items()} == (
        {n: nearest_dead(graph, n, unfinished, dead) for n in unfinished} if dead else {}
    )
    assert all(numbers == sorted(set(numbers)) for numbers in found.values())


@given(runs())
def test_the_first_to_end_waits_for_none(run: tuple[Graph, set[int], set[int]]) -> None:
    graph, unfinished, dead = run
    left = unfinished | dead
    for number in unfinished:
        first = first_to_end(graph, number, left)
        assert first == number or first in behind(graph, number, left)
        assert not left.intersection(graph.depends_on[first])
