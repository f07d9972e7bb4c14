"""Graphs and tasks that a server keeps at hand have a bound in bytes, whatever they are made of."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api.encode_dispatch import LeasedTasks
from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.graph import Graph, from_json, memory_of, to_json
from zart_server.domain.model import StepSpec
from zart_server.store.caches.definitions import DefinitionCache
from zart_server.store.stored_graph import Definition

MOST = 4 * 1024 * 1024
KEPT = [
    pytest.param(1, 0, "{}", id="one step"),
    pytest.param(100, 1, "step-{} of a chain", id="a chain"),
    pytest.param(200, 60, "{}", id="many edges"),
    pytest.param(50, 20, "{}" + "ä" * 100 + "🙂", id="names of wide letters"),
]


def _definition(number: int, count: int, edges: int, name: str, text: str = "") -> Definition:
    """Return a graph as it is read: none of its texts is shared with another one."""
    names = [name.format(n) for n in range(count)]
    steps = [
        StepSpec(each, tuple(names[max(0, n - edges) : n]), input_json=f'"{number} {text}"')
        for n, each in enumerate(names)
    ]
    graph = Graph.of(from_json(to_json(steps)))
    return Definition(number, "order", 0, graph, tuple(range(1_000, 1_000 + count)))


def _kept_by(fill: Callable[[], object]) -> int:
    """Return how many bytes of memory what is filled takes."""
    gc.collect()
    tracemalloc.start()
    try:
        filled = fill()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del filled
    return kept


def _fill(count: int, edges: int, name: str, text: str = "") -> DefinitionCache:
    """Return a cache that was given about twice what it keeps, and has used all of it."""
    cache = DefinitionCache(MOST)
    given = number = 0
    while given < 2 * MOST:
        number += 1
        definition = _definition(number, count, edges, name, text)
        given += definition.graph.memory
        assert len(definition.queued) == len(definition.input_bytes) == len(definition.name_bytes)
        cache.add(definition)
    return cache


@pytest.mark.parametrize(("count", "edges", "name"), KEPT)
def test_graphs_at_hand_take_what_they_may(count: int, edges: int, name: str) -> None:
    kept = _kept_by(lambda: _fill(count, edges, name))

    assert 0.6 * MOST < kept < 1.1 * MOST


@pytest.mark.parametrize("text", ["x" * 2_000, "x" * 100_000, "x" * 20_000 + "🙂"])
def test_graphs_whose_inputs_differ_take_what_they_may(text: str) -> None:
    """Each execution brings its own, if it is started with steps."""
    kept = _kept_by(lambda: _fill(2, 1, "{}", text))

    assert 0.6 * MOST < kept < 1.1 * MOST


def test_the_graphs_used_longest_ago_make_room() -> None:
    """Those that dispatchers use, or starts, outlast a flood; one that is too large is kept."""
    cache = DefinitionCache(10 * _definition(0, 5, 1, "{}").graph.memory)
    leased, current = _definition(1, 5, 1, "{}"), _definition(2, 5, 1, "{}")
    cache.add(leased)
    cache.add_current(current)
    for number in range(3, 30):
        cache.add(_definition(number, 5, 1, "{}"))
        assert cache.at_hand([1]) == {1: leased}
        assert cache.last_current("order") is current
    assert len(cache.at_hand(range(30))) == 9

    large = _definition(30, 100, 1, "{}")
    cache.add(large)
    assert cache.at_hand(range(31)) == {30: large}
    assert cache.last_current("order") is None


def _leased(number: int, text: str) -> LeasedTask:
    step = StepSpec("charge", (), "charge", input_json=f'"{number} {text}"')
    now = datetime(2026, 1, 1, tzinfo=UTC)
    minute = timedelta(minutes=1)
    return LeasedTask("1-0-1", 1, "x", 0, "order", number, 0, step, 1, 3, None, {}, (), now, minute)


@pytest.mark.parametrize("size", [0, 2_000, 100_000])
def test_what_tasks_of_a_step_have_in_common_takes_what_it_may(size: int) -> None:
    def fill() -> LeasedTasks:
        kept = LeasedTasks(MOST)
        each = 2 * size + memory_of(_leased(0, "").step)
        for number in range(2 * MOST // each):
            response = pb.LeaseTasksResponse()
            kept.add([_leased(number, "x" * size)], response)
            assert response.tasks[0].input_json == f'"{number} {"x" * size}"'
        return kept

    assert _kept_by(fill) < 1.1 * MOST


def test_a_step_that_is_larger_is_kept_alone() -> None:
    kept = LeasedTasks(MOST)
    small, large = _leased(1, ""), _leased(2, "x" * MOST)
    kept.add([small, large], pb.LeaseTasksResponse())
    assert [of[1] for of, _ in kept._alike.values()] == [large.step]

    kept.add([small], pb.LeaseTasksResponse())
    assert [of[1] for of, _ in kept._alike.values()] == [small.step]
