"""Graphs at their limits: what is taken is planned in no time, what is not is refused in a line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from computing import cpu_seconds

from zart_server.domain.errors import InvalidField, TooManyItems
from zart_server.domain.graph import MAX_EDGES, MAX_STEPS, Graph, from_json, to_json
from zart_server.domain.model import StepSpec, StepStatus
from zart_server.domain.plans import decided
from zart_server.domain.rerun import MAX_CAUSES, plan_rerun

SECONDS = 3.0


def of_edges(steps: int, each: int) -> list[StepSpec]:
    """Make steps that depend on as many before them."""
    names = [f"s{n}" for n in range(steps)]
    return [StepSpec(name, tuple(names[max(0, n - each) : n])) for n, name in enumerate(names)]


def test_more_edges_than_are_taken() -> None:
    with cpu_seconds(SECONDS), pytest.raises(TooManyItems, match="at most 100000 are taken"):
        Graph.of(of_edges(1500, 1500))


@pytest.mark.parametrize(
    "steps",
    [
        of_edges(MAX_STEPS, MAX_EDGES // MAX_STEPS),
        of_edges(446, 446),
        [*of_edges(MAX_STEPS // 2, 1), *(StepSpec(f"t{n}", ("s4999",)) for n in range(5000))],
    ],
    ids=["all with ten", "each with all", "a chain with a fan"],
)
def test_the_largest_graphs(steps: list[StepSpec]) -> None:
    with cpu_seconds(SECONDS):
        graph = Graph.of(from_json(to_json(Graph.of(steps).steps)))
        done = [StepStatus.COMPLETED] * len(steps)
        forced = [step.step_name for step in steps[: len(steps) // 2]]
        plan = plan_rerun(graph, done, forced, [], include_downstream=False)
        decided(
            effective_rerun=plan.effective_rerun,
            preserved=plan.preserved,
            potentially_stale=plan.potentially_stale,
        )

    assert len(plan.effective_rerun) == len(plan.preserved) == len(steps) // 2
    named = [len(stale.causes) for stale in plan.potentially_stale]
    assert min(named) >= 1
    assert sum(named) <= MAX_CAUSES + len(steps)
    every = plan.potentially_stale[-1]
    assert len(every.causes) + every.omitted == len(steps) // 2
    assert every.causes[0] == steps[0].step_name


def ring(count: int, width: int) -> list[StepSpec]:
    """Make a cycle of steps with long names."""
    name: Callable[[int], str] = lambda n: f"{n % count:0{width}}"  # noqa: E731
    return [StepSpec(name(n), (name(n + 1),)) for n in range(count)]


def test_a_long_cycle_is_told_in_short() -> None:
    with pytest.raises(InvalidField) as refused:
        Graph.of(ring(300, 4))
    assert refused.value.description == ("a cycle: 0000 → 0001 → 0002 → 0003 → (296 more) → 0000")
