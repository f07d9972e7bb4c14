"""Starts one execution in one statement: who waits for its first step feels each round trip."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from zart_server.domain.commands import StartExecution
from zart_server.domain.model import Execution
from zart_server.engine.dispatch.eager_start import Handing
from zart_server.engine.dispatch.long_polls import Waiters
from zart_server.engine.operations.begin_runs import judge_roots, tell_of_queued
from zart_server.engine.operations.requests import Answered
from zart_server.engine.operations.start import begun, new_execution, new_run, with_id
from zart_server.store.db import Tx
from zart_server.store.executions import Started
from zart_server.store.start_fast import start_one

_NOT_YET = datetime.fromtimestamp(0, UTC)


async def start_execution(
    tx: Tx,
    command: StartExecution,
    answer: Callable[[Execution], Answered | None],
    waiters: Waiters,
) -> Execution | None:
    """Start an execution of a registered task; its first steps are handed to who waits for them.

    Without a transaction. ``answer`` gives what to store as the answer to the request, of an
    execution whose time of creation is not known yet. None, doing nothing, where it takes more, as
    ``store.starting.start_one`` says, or a graph that is not at hand.
    """
    definition = (
        None if command.graph is not None else tx.definitions.last_current(command.task_name)
    )
    if definition is None:
        return None
    command = with_id(command)
    to_begin = [new_run(command, definition, Started(command.execution_id, 0, 0, _NOT_YET))]
    rules = await judge_roots(tx, to_begin)
    handing = Handing(tx, waiters)
    done = await start_one(
        tx,
        new_execution(command, definition),
        rules,
        handing.promise(to_begin, rules),
        tx.pauses.epoch,
        answer(begun(command, _NOT_YET)),
    )
    if done is None:
        handing.call_off()
        return None
    runs = [new_run(command, definition, done.started)]
    handing.leased(runs, done.leases)
    tell_of_queued(tx, runs, done.leases)
    return begun(command, done.started.created_at)
