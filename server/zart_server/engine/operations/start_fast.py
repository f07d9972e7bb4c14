"""Starts executions in one statement: who waits for a first step feels each round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from zart_server.domain.commands import StartExecution
from zart_server.domain.model import Execution
from zart_server.engine.dispatch.eager_start import EagerStart
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.begin_runs import (
    FEW,
    NewRun,
    Roots,
    announce_queued,
    are_few,
)
from zart_server.engine.operations.requests import Answered
from zart_server.engine.operations.start import begun, new_execution, new_run, with_id
from zart_server.store.connection import Autocommit
from zart_server.store.executions import Started
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.judging import judge
from zart_server.store.start_fast import start_fast
from zart_server.store.stored_graph import Definition

_NOT_YET = datetime.fromtimestamp(0, UTC)


async def start_executions_fast(
    connection: Autocommit,
    commands: Sequence[StartExecution],
    answer: Callable[[int, Execution], Answered | None],
    long_polls: LongPolls,
) -> list[Execution | None] | None:
    """Start executions of registered tasks; waiting calls may lease their first steps at once.

    The fast path: one statement without a transaction. ``answer`` returns the answer to store with
    the request of a command, by its number from 0, for an execution whose time of creation is not
    known yet. None is told of a command that needs the general path (``start_executions``) for one
    of the reasons in ``store.start_fast``; or None altogether, nothing having been done, if a graph
    is not at hand, or there are too many, or too many steps.
    """
    if len(commands) > FEW:
        return None
    by_id: dict[str, _Start] = {}
    for number, command in enumerate(map(with_id, commands)):
        definition = (
            None
            if command.graph is not None
            else connection.definitions.last_current(command.task_name)
        )
        if definition is None or command.execution_id in by_id:
            return None
        by_id[command.execution_id] = _Start(number, command, definition)
    starts = [by_id[execution_id] for execution_id in sorted(by_id)]
    if not are_few([each.definition for each in starts]):
        return None
    to_begin = [_run(each, Started(each.command.execution_id, 0, 0, _NOT_YET)) for each in starts]
    judgement = await judge(connection, Roots(to_begin))
    eager = EagerStart(connection, long_polls)
    lessees = eager.reserve(to_begin, judgement.rules)
    done = await start_fast(
        connection,
        [new_execution(each.command, each.definition) for each in starts],
        judgement,
        lessees,
        list(_are_leased(starts, lessees)),
        [answer(each.number, begun(each.command, _NOT_YET)) for each in starts],
    )
    if not done.started:
        eager.call_off()
        return [None] * len(commands)
    runs: list[NewRun] = []
    executions: list[Execution | None] = [None] * len(commands)
    for each, not_begun in zip(starts, to_begin, strict=True):
        new = done.started.get(each.command.execution_id)
        if new is None:
            runs.append(not_begun._replace(facts=None))
        else:
            runs.append(_run(each, new))
            executions[each.number] = begun(each.command, new.created_at)
    eager.leased(runs, done.leases)
    announce_queued(connection, [run for run in runs if run.facts is not None], done.leases)
    return executions


class _Start(NamedTuple):
    """A command and the graph of its task."""

    number: int
    command: StartExecution
    definition: Definition


def _are_leased(starts: Sequence[_Start], lessees: Lessees) -> Iterator[bool]:
    """Yield of each execution whether a call takes one of its roots."""
    indexes = iter(lessees.indexes)
    for each in starts:
        yield any(list(islice(indexes, len(each.definition.graph.roots))))


def _run(start: _Start, started: Started) -> NewRun:
    return new_run(start.command, start.definition, started)
