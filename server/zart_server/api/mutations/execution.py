"""The mutations of ExecutionService, each with what the engine does for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from zart.v1 import execution_service_pb2 as pb
from zart_server.api import decode_execution as decode
from zart_server.api import encode
from zart_server.api.checks import caller_of, with_caller
from zart_server.api.errors import status_of
from zart_server.api.fields import items_of
from zart_server.api.mutations.mutation import Grouping, Mutation, Request, for_one
from zart_server.domain.commands import (
    Caller,
    CancelExecution,
    Cancelled,
    StartExecution,
    StartResult,
)
from zart_server.domain.errors import TooManyItems, ZartError
from zart_server.domain.graph import MAX_STEPS
from zart_server.domain.model import Execution
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.cancel import cancel_executions
from zart_server.engine.operations.requests import Answered
from zart_server.engine.operations.start import start_executions
from zart_server.engine.operations.start_fast import start_executions_fast
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.stored_graph import Definition

_ASSUMED = 1_000  # steps, where a task's graph is not at hand: it is once the first have begun
# Steps that the starts of one call may have together: a thousand of the usual size. They take some
# seconds, and for most of that the pause lock.
_MOST_OF_BATCH = 50_000


def start_mutation(
    long_polls: LongPolls, last_current: Callable[[str], Definition | None]
) -> Mutation[pb.StartExecutionRequest, StartExecution, Execution, pb.StartExecutionResponse]:
    """Return StartExecution; the first steps may be leased at once to ``long_polls``.

    ``last_current`` tells the graph that a task had last, if it is at hand: so much is written.
    """

    async def operate(
        tx: Tx,
        wanted: Sequence[tuple[StartExecution, Caller]],
        *,
        wait: bool,  # noqa: ARG001 - it always does
    ) -> list[StartResult | None]:
        commands = [command for command, _ in wanted]
        results = await start_executions(tx, commands, long_polls, most_steps=MAX_STEPS)
        # Alone each has room.
        return [None if isinstance(result, TooManyItems) else result for result in results]

    async def fast(
        connection: Autocommit,
        wanted: Sequence[StartExecution],
        requests: Sequence[Request | None],
    ) -> list[Execution | None] | None:
        def answer(index: int, execution: Execution) -> Answered | None:
            request = requests[index]
            if request is None:
                return None
            response = _started(execution)
            response.execution.ClearField("created_at")  # told by ``_begun_at``
            return Answered(*request, response.SerializeToString(), is_complete=False)

        return await start_executions_fast(connection, wanted, answer, long_polls)

    def steps(command: StartExecution) -> int:
        if command.graph is not None:
            return len(command.graph.graph.steps)
        definition = last_current(command.task_name)
        return _ASSUMED if definition is None else len(definition.graph.steps)

    return Mutation(
        response_type=pb.StartExecutionResponse,
        decode=_decode_start,
        operate=operate,
        encode=_started,
        target=_id_of,
        fast=fast,
        replay=_begun_at,
        steps=steps,
    )


def _decode_start(request: pb.StartExecutionRequest) -> tuple[StartExecution, Caller]:
    command = decode.start_execution(request)
    return command, command.caller


def _id_of(command: StartExecution) -> str:
    return command.execution_id or str(id(command))


def _started(execution: Execution) -> pb.StartExecutionResponse:
    return pb.StartExecutionResponse(execution=encode.execution(execution))


def _begun_at(response: pb.StartExecutionResponse, at: datetime) -> None:
    """Fill in when the execution was created: by the statement that stored the answer, too."""
    response.execution.created_at.FromDatetime(at)


_Item: TypeAlias = StartExecution | ZartError


def batch_start_mutation(
    long_polls: LongPolls,
) -> Mutation[
    pb.BatchStartExecutionsRequest,
    Sequence[_Item],
    Sequence[StartResult],
    pb.BatchStartExecutionsResponse,
]:
    """Return BatchStartExecutions: a bad item's error stands in its place."""

    async def operate(tx: Tx, items: Sequence[_Item], _caller: Caller) -> Sequence[StartResult]:
        good = [item for item in items if isinstance(item, StartExecution)]
        started = iter(await start_executions(tx, good, long_polls, most_steps=_MOST_OF_BATCH))
        return [item if isinstance(item, ZartError) else next(started) for item in items]

    return Mutation(
        response_type=pb.BatchStartExecutionsResponse,
        decode=_decode_batch,
        operate=for_one(operate),
        encode=_batch_started,
        target=_nothing_shared,
        grouping=Grouping.ALONE,
    )


def _decode_batch(
    request: pb.BatchStartExecutionsRequest,
) -> tuple[Sequence[_Item], Caller]:
    items_of(request.requests, "requests")
    batch = caller_of(request)
    return [_decode_item(item, batch) for item in request.requests], batch


def _decode_item(request: pb.StartExecutionRequest, batch: Caller) -> _Item:
    """Decode one item; a bad one becomes the error that stands in its place."""
    try:
        return decode.start_of_batch(request, batch)
    except ZartError as error:
        return error


def _nothing_shared(_items: Sequence[_Item]) -> None:
    """Batches share no lock: one that waits is no reason for others to."""


def _batch_started(results: Sequence[StartResult]) -> pb.BatchStartExecutionsResponse:
    return pb.BatchStartExecutionsResponse(results=map(_result, results))


def _result(result: StartResult) -> pb.BatchStartExecutionsResult:
    if isinstance(result, ZartError):
        return pb.BatchStartExecutionsResult(error=status_of(result))
    return pb.BatchStartExecutionsResult(execution=encode.execution(result))


def _cancelled(done: Cancelled) -> pb.CancelExecutionResponse:
    return pb.CancelExecutionResponse(
        run=encode.run(done.run),
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


def _execution_id(command: CancelExecution) -> str:
    return command.execution_id


CANCEL_EXECUTION = Mutation(
    response_type=pb.CancelExecutionResponse,
    decode=with_caller(decode.cancel_execution),
    operate=cancel_executions,
    encode=_cancelled,
    target=_execution_id,
    grouping=Grouping.ALONE,
)
