"""Tasks in lanes of a database without a server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from zart_server.domain.commands import Caller, StartExecution
from zart_server.domain.dispatch import LeasedTask, LeaseTasks
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import IfExists, StepSpec
from zart_server.engine.operations.start import start_executions
from zart_server.store.db import Database

# In one transaction, which PostgreSQL ends where it hears nothing of it for two seconds: on a busy
# machine that many take some tenths.
_AT_ONCE = 100


async def queue(
    store: Database, lanes: int, tasks: int, called: str = "x", payload: str = "1"
) -> None:
    """Queue so many tasks in each of so many lanes of the task ``t``."""
    graph = WrittenGraph.of([StepSpec(f"s{n}", (), f"h{n}") for n in range(lanes)])
    starts = [
        StartExecution(f"{called}-{n}", "t", payload, graph, IfExists.FAIL, Caller())
        for n in range(tasks)
    ]
    for first in range(0, tasks, _AT_ONCE):
        async with store.transaction() as tx:
            await start_executions(tx, starts[first : first + _AT_ONCE])


def wanting(count: int, handlers: tuple[str, ...] = ()) -> LeaseTasks:
    """Ask for so many of them."""
    return LeaseTasks("d", ("t",), handlers, count, timedelta(0), timedelta(seconds=30))


def names(tasks: Sequence[LeasedTask]) -> set[tuple[str, int]]:
    """Tell leased tasks apart."""
    return {(task.execution_id, task.step_no) for task in tasks}
