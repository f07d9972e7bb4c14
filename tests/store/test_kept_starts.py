"""Runs and graphs are at hand once they are committed: one that is rolled back leaves its key."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest
from waiting import until

from zart_server.domain.commands import Caller, RegisterTask, StartExecution
from zart_server.domain.dispatch import LeaseTasks
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import Execution, IfExists, StepSpec
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.register_task import register_task
from zart_server.engine.operations.start import start_executions
from zart_server.store.db import Database

_KEYS = range(1, 10)  # more than a new database gives
_GRAPH = WrittenGraph.of([StepSpec("a", handler="a")])
_START = StartExecution("x", "t", "{}", _GRAPH, IfExists.FAIL, Caller())
_LEASE = LeaseTasks("d", ("t",), (), 1, timedelta(0), timedelta(seconds=30))


class _Undone(Exception):
    pass


def _end(store: Database, *, is_undone: bool) -> None:
    """See that nothing is at hand yet, and undo it, or not."""
    assert not store._runs.at_hand(_KEYS)
    assert not store._definitions.at_hand(_KEYS)
    assert store.last_current("t") is None
    if is_undone:
        raise _Undone


@pytest.mark.parametrize("is_undone", [True, False])
async def test_a_run_that_is_leased_as_it_starts(store: Database, *, is_undone: bool) -> None:
    long_polls = LongPolls()
    with long_polls.register(_LEASE) as long_poll:
        waiting = asyncio.create_task(long_poll.wait(600.0))
        await until(lambda: long_poll._is_idle)
        with contextlib.suppress(_Undone):
            async with store.transaction() as tx:
                [started] = await start_executions(tx, [_START], long_polls)
                assert isinstance(started, Execution)
                _end(store, is_undone=is_undone)
        await waiting

    runs, graphs = store._runs.at_hand(_KEYS), store._definitions.at_hand(_KEYS)
    assert [task.execution_id for task in long_poll.delivered] == ["x"] * (not is_undone)
    assert [run.execution_id for run in runs.values()] == ["x"] * (not is_undone)
    assert [graph.task_name for graph in graphs.values()] == ["t"] * (not is_undone)


@pytest.mark.parametrize("is_undone", [True, False])
async def test_a_graph_that_is_registered(store: Database, *, is_undone: bool) -> None:
    with contextlib.suppress(_Undone):
        async with store.transaction() as tx:
            await register_task(tx, RegisterTask("t", _GRAPH))
            _end(store, is_undone=is_undone)

    assert (store.last_current("t") is None) == is_undone
    assert len(store._definitions.at_hand(_KEYS)) == (not is_undone)
