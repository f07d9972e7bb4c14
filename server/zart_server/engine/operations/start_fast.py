"""Starts one execution in one statement: who waits for its first step feels each round trip."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from zart_server.domain.commands import StartExecution
from zart_server.domain.model import Execution
from zart_server.engine.dispatch.eager_start import EagerStart
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.begin_runs import Roots, announce_queued
from zart_server.engine.operations.requests import Answered
from zart_server.engine.operations.start import begun, new_execution, new_run, with_id
from zart_server.store.connection import Autocommit
from zart_server.store.executions import Started
from zart_server.store.pausing.judging import judge
from zart_server.store.start_fast import start_fast

_NOT_YET = datetime.fromtimestamp(0, UTC)


async def start_execution(
    connection: Autocommit,
    command: StartExecution,
    answer: Callable[[Execution], Answered | None],
    long_polls: LongPolls,
) -> Execution | None:
    """Start an execution of a registered task; waiting calls may lease its first steps at once.

    The fast path: one statement without a transaction. ``answer`` returns the answer to store with
    the request, for an execution whose time of creation is not known yet. Return None, having done
    nothing, if the general path (``start_executions``) is needed: the graph is not at hand, or one
    of the reasons in ``store.start_fast``.
    """
    definition = (
        None
        if command.graph is not None
        else connection.definitions.last_current(command.task_name)
    )
    if definition is None:
        return None
    command = with_id(command)
    to_begin = [new_run(command, definition, Started(command.execution_id, 0, 0, _NOT_YET))]
    judgement = await judge(connection, Roots(to_begin))
    eager = EagerStart(connection, long_polls)
    done = await start_fast(
        connection,
        new_execution(command, definition),
        judgement,
        eager.reserve(to_begin, judgement.rules),
        answer(begun(command, _NOT_YET)),
    )
    if done is None:
        eager.call_off()
        return None
    runs = [new_run(command, definition, done.started)]
    eager.leased(runs, done.leases)
    announce_queued(connection, runs, done.leases)
    return begun(command, done.started.created_at)
