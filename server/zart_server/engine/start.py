"""Starts executions: run 0 of each, its steps, and what is ready of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from zart_server.domain.commands import StartExecution, StartResult
from zart_server.domain.errors import ExecutionExists, TaskDefinitionNotFound, ZartError
from zart_server.domain.graph import Graph
from zart_server.domain.model import Execution, IfExists, RunStatus
from zart_server.engine.placing import Ready, place
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition, current_keys, insert_definitions
from zart_server.store.executions import NewExecution, Started, insert_executions
from zart_server.store.reads.executions import find_executions
from zart_server.store.steps import insert_steps


async def start_executions(tx: Tx, starts: Sequence[StartExecution]) -> list[StartResult]:
    """Start executions, each by itself: a refused one leaves an error in its place.

    A fixed number of statements, however many there are. Of two with the same id the first wins.
    """
    starts = [
        item if item.execution_id else replace(item, execution_id=str(uuid.uuid4()))
        for item in starts
    ]
    graphs = await _find_graphs(tx, starts)
    firsts: dict[str, int] = {}
    for number, (item, graph) in enumerate(zip(starts, graphs, strict=True)):
        if isinstance(graph, Definition):
            firsts.setdefault(item.execution_id, number)
    new = [
        _new_execution(starts[number], graph)
        for number in firsts.values()
        if isinstance(graph := graphs[number], Definition)
    ]
    started = await insert_executions(tx, new) if new else {}
    if started:
        await _place_roots(
            tx, started, {starts[n].execution_id: graphs[n] for n in firsts.values()}
        )
    taken = [
        item.execution_id
        for number, item in enumerate(starts)
        if item.execution_id not in started or firsts.get(item.execution_id) != number
    ]
    existing = await find_executions(tx, taken) if taken else {}
    return [
        _result(item, graph, number, firsts, started, existing)
        for number, (item, graph) in enumerate(zip(starts, graphs, strict=True))
    ]


async def _find_graphs(tx: Tx, starts: Sequence[StartExecution]) -> list[Definition | ZartError]:
    """Give the graph of each: its own, stored where it is new, or its task's current one."""
    named = {item.task_name for item in starts if not item.steps}
    keys = await current_keys(tx, named) if named else {}
    current = await tx.definitions.get(tx, keys.values()) if keys else {}
    inline = [(item.task_name, 0, Graph.of(item.steps)) for item in starts if item.steps]
    stored = iter(await insert_definitions(tx, inline) if inline else ())
    found: list[Definition | ZartError] = []
    for item in starts:
        if item.steps:
            definition = next(stored)
            tx.definitions.add(definition)
            found.append(definition)
        elif item.task_name in keys:
            found.append(current[keys[item.task_name]])
        else:
            found.append(TaskDefinitionNotFound(item.task_name))
    return found


def _new_execution(item: StartExecution, definition: Definition) -> NewExecution:
    return NewExecution(
        execution_id=item.execution_id,
        task_name=item.task_name,
        definition_key=definition.definition_key,
        definition_version=definition.version,
        payload_json=item.payload_json,
        caller=item.caller,
    )


async def _place_roots(
    tx: Tx, started: dict[str, Started], graphs: dict[str, Definition | ZartError]
) -> None:
    runs = []
    ready = []
    for execution_id, row in started.items():
        definition = graphs[execution_id]
        if isinstance(definition, ZartError):
            raise definition
        runs.append((row.run_key, definition.definition_key))
        ready += [
            Ready(definition, execution_id, row.run_key, root) for root in definition.graph.roots
        ]
        tx.changes.executions.add(row.execution_key)
    await insert_steps(tx, runs)
    await place(tx, ready)


def _result(
    item: StartExecution,
    graph: Definition | ZartError,
    number: int,
    firsts: dict[str, int],
    started: dict[str, Started],
    existing: dict[str, Execution],
) -> StartResult:
    execution_id = item.execution_id
    if execution_id in started and firsts.get(execution_id) == number:
        created_at = started[execution_id].created_at
        return Execution(execution_id, item.task_name, 0, RunStatus.SCHEDULED, created_at)
    there = existing.get(execution_id)
    if there is None:
        # Only an item without a definition is neither started nor there.
        return graph if isinstance(graph, ZartError) else TaskDefinitionNotFound(item.task_name)
    if item.if_exists is IfExists.RETURN and there.task_name == item.task_name:
        return there
    return ExecutionExists(execution_id, there.task_name)
