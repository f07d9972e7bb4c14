"""Starts executions: run 0 of each, its steps, and what is ready of them."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from zart_server.domain.commands import StartExecution, StartResult
from zart_server.domain.errors import (
    ExecutionExists,
    StoreConflict,
    TaskDefinitionNotFound,
    TooManyItems,
    ZartError,
)
from zart_server.domain.model import Execution, IfExists, RunStatus
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.begin_runs import NewRun, begin_runs
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Tx
from zart_server.store.definitions import current_keys, find_definitions, insert_definitions
from zart_server.store.executions import Kind, NewExecution, Started, insert_executions
from zart_server.store.reads.executions import find_executions
from zart_server.store.standby import reach_standby
from zart_server.store.stored_graph import Definition

_APART = "with those of the starts before it; ask for it in another call"


def with_id(command: StartExecution) -> StartExecution:
    """Give an execution an id if its caller chose none."""
    if command.execution_id:
        return command
    return replace(command, execution_id=str(uuid.uuid4()))


async def start_executions(
    tx: Tx,
    starts: Sequence[StartExecution],
    long_polls: LongPolls | None = None,
    *,
    most_steps: int = sys.maxsize,
) -> list[StartResult]:
    """Start executions, each by itself: the result of a refused one is an error.

    A fixed number of statements, however many there are. Of two with the same id the first wins.
    The first steps may be leased at once to ``long_polls``. An error is TaskDefinitionNotFound,
    ExecutionExists, or TooManyItems: it would bring more than ``most_steps`` with those before it.
    Raises StoreConflict.
    """
    starts = list(map(with_id, starts))
    graphs = await _find_graphs(tx, starts, most_steps)
    firsts: dict[str, tuple[int, Definition]] = {}
    for number, (item, graph) in enumerate(zip(starts, graphs, strict=True)):
        if isinstance(graph, Definition):
            firsts.setdefault(item.execution_id, (number, graph))
    new = [new_execution(starts[number], graph) for number, graph in firsts.values()]
    started = await insert_executions(tx, new) if new else {}
    if started:
        # In the order of the request, which is the order in which they are leased.
        runs = [
            new_run(starts[number], graph, started[execution_id])
            for execution_id, (number, graph) in firsts.items()
            if execution_id in started
        ]
        await begin_runs(tx, runs, long_polls)
    taken = [
        item.execution_id
        for number, item in enumerate(starts)
        if item.execution_id not in started or firsts[item.execution_id][0] != number
    ]
    existing = await find_executions(tx, taken) if taken else {}
    if existing:
        await reach_standby(tx)
    return [
        _result(item, graph, number, firsts, started, existing)
        for number, (item, graph) in enumerate(zip(starts, graphs, strict=True))
    ]


async def _find_graphs(
    tx: Tx, starts: Sequence[StartExecution], most_steps: int
) -> list[Definition | ZartError]:
    """Return the graph of each: its own, stored where it is new, or its task's current one."""
    named = {item.task_name for item in starts if item.graph is None}
    keys = await current_keys(tx, named) if named else {}
    current = await find_definitions(tx, keys.values()) if keys else {}
    for definition in current.values():
        tx.definitions.add_current(definition)
    registered = {task_name: current[key] for task_name, key in keys.items()}
    beyond = await _find_beyond(tx, starts, registered, most_steps)
    inline = [
        (item.task_name, 0, item.graph)
        for number, item in enumerate(starts)
        if item.graph is not None and number not in beyond
    ]
    new = await insert_definitions(tx, inline) if inline else []
    if new:
        tx.once_committed(partial(tx.definitions.add_all, new))
    stored = iter(new)
    found: list[Definition | ZartError] = []
    for number, item in enumerate(starts):
        if number in beyond:
            found.append(beyond[number])
        elif item.graph is not None:
            found.append(next(stored))
        else:
            found.append(registered.get(item.task_name) or TaskDefinitionNotFound(item.task_name))
    return found


async def _find_beyond(
    tx: Tx,
    starts: Sequence[StartExecution],
    registered: Mapping[str, Definition],
    most_steps: int,
) -> dict[int, TooManyItems]:
    """Return by number why starts are refused that bring too many steps with those before them.

    What exists already brings none: of a call that is repeated, those that are left have the room.
    Nor does an id once more that is let in: the first of them is what begins.
    """
    sizes = [_size(item, registered) for item in starts]
    if sum(sizes) <= most_steps:
        return {}
    there = set(await find_executions(tx, [item.execution_id for item in starts]))
    beyond: dict[int, TooManyItems] = {}
    total = 0
    for number, (item, size) in enumerate(zip(starts, sizes, strict=True)):
        if not size or item.execution_id in there:  # of an unknown task it begins nothing
            continue
        if total and total + size > most_steps:
            beyond[number] = TooManyItems("steps", total + size, most_steps, _APART)
        else:
            total += size
            there.add(item.execution_id)
    return beyond


def _size(item: StartExecution, registered: Mapping[str, Definition]) -> int:
    """Return how many steps a start brings."""
    if item.graph is not None:
        return len(item.graph.graph.steps)
    definition = registered.get(item.task_name)
    return 0 if definition is None else len(definition.graph.steps)


def new_execution(item: StartExecution, definition: Definition) -> NewExecution:
    """Return the row of an execution."""
    kind = Kind(item.task_name, definition.definition_key, definition.version, item.caller)
    return NewExecution(item.execution_id, kind, item.payload_json, item.traceparent)


def new_run(item: StartExecution, definition: Definition, started: Started) -> NewRun:
    """Return the run that an execution begins with."""
    facts = RunFacts(
        started.run_key,
        started.execution_key,
        item.execution_id,
        0,
        definition.definition_key,
        is_rerun=False,
        payload_bytes=len((item.payload_json or "").encode()),
        payload_json=item.payload_json,
        traceparent=item.traceparent,
    )
    return NewRun(definition, item.execution_id, started.run_key, facts)


def begun(item: StartExecution, created_at: datetime) -> Execution:
    """Return an execution as callers see it that has just begun."""
    return Execution(item.execution_id, item.task_name, 0, RunStatus.SCHEDULED, created_at)


def _result(
    item: StartExecution,
    graph: Definition | ZartError,
    number: int,
    firsts: dict[str, tuple[int, Definition]],
    started: dict[str, Started],
    existing: dict[str, Execution],
) -> StartResult:
    execution_id = item.execution_id
    new = started.get(execution_id)
    if new is not None and firsts[execution_id][0] == number:
        return begun(item, new.created_at)
    there = existing.get(execution_id)
    if there is None:
        if isinstance(graph, ZartError):
            return graph
        # Its id was taken when it was to be inserted, and that execution was removed since.
        raise StoreConflict
    if item.if_exists is IfExists.RETURN and there.task_name == item.task_name:
        return there
    return ExecutionExists(execution_id, there.task_name)
