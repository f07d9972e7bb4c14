"""Properties of rerun plans over random graphs and statuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.errors import InvalidField
from zart_server.domain.graph import Graph
from zart_server.domain.model import StepSpec, StepStatus
from zart_server.domain.rerun import plan_rerun

STATUSES = list(StepStatus)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random graph: each step depends on some of those before it, then all are shuffled."""
    count = draw(st.integers(1, 9))
    steps = [
        StepSpec(f"s{n}", tuple(f"s{d}" for d in draw(st.sets(st.integers(0, n - 1))) if n) if n else ())
        for n in range(count)
    ]  # fmt: skip
    return Graph.of(draw(st.permutations(steps)))


def ancestors(graph: Graph, name: str) -> set[str]:
    """Every step that one transitively depends on, the slow and obvious way."""
    found: set[str] = set()
    for dep in graph.steps[graph.index[name]].depends_on:
        found |= {dep} | ancestors(graph, dep)
    return found


@given(data=st.data(), graph=graphs(), downstream=st.booleans())
def test_a_plan(data: st.DataObject, graph: Graph, downstream: bool) -> None:  # noqa: FBT001
    names = [s.step_name for s in graph.steps]
    statuses = data.draw(
        st.lists(st.sampled_from(STATUSES), min_size=len(names), max_size=len(names))
    )
    force = data.draw(st.sets(st.sampled_from(names)))
    preserve = data.draw(st.sets(st.sampled_from(names))) - force
    plan = plan_rerun(graph, statuses, sorted(force), sorted(preserve), downstream)

    again, kept = set(plan.effective_rerun), set(plan.preserved)
    completed = {n for n, s in zip(names, statuses, strict=True) if s is StepStatus.COMPLETED}
    seeds = force | (set(names) - completed)
    below = {n for n in names if ancestors(graph, n) & seeds}

    assert again | kept == set(names)
    assert not again & kept
    assert kept <= completed
    assert again == (seeds | (below - (preserve & completed)) if downstream else seeds)
    stale = {
        name: set(causes) for name, causes, omitted, _ in plan.potentially_stale if not omitted
    }
    assert stale == {n: ancestors(graph, n) & again for n in kept if ancestors(graph, n) & again}
    in_order = [n for n in names if n in again]
    assert list(plan.effective_rerun) == in_order


@given(graph=graphs())
def test_steps_in_order_come_after_what_they_depend_on(graph: Graph) -> None:
    order = graph.in_order()
    place = {number: at for at, number in enumerate(order)}
    assert sorted(order) == list(range(len(graph.steps)))
    for number, deps in enumerate(graph.depends_on):
        assert all(place[dep] < place[number] for dep in deps)


def test_a_cycle_is_named() -> None:
    steps = [StepSpec("a", ("c",)), StepSpec("b", ("a",)), StepSpec("c", ("b",)), StepSpec("d")]
    with pytest.raises(InvalidField, match="a cycle: a → c → b → a"):
        Graph.of(steps)
