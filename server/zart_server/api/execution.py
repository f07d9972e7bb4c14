"""ExecutionService: each handler decodes, opens one transaction, calls below, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from zart.v1 import execution_service_pb2 as pb
from zart.v1 import execution_service_pb2_grpc
from zart_server import aside
from zart_server.api import decode_execution as decode
from zart_server.api import encode
from zart_server.api.checks import Checks, caller_of, with_caller
from zart_server.api.context import Context
from zart_server.api.errors import status_of
from zart_server.api.fields import items_of, name_of, optional_number
from zart_server.api.mutations.single import CROWD, Mutations
from zart_server.api.mutations.starts import batched_starts
from zart_server.api.page_tokens import encode_cursor, page_of
from zart_server.api.reading import Reading
from zart_server.domain.commands import Caller, ExecutionView, StartExecution, StartResult
from zart_server.domain.errors import ZartError
from zart_server.engine.background.watches import Watches
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.cancel import cancel_execution
from zart_server.engine.operations.start import start_executions
from zart_server.store import reads
from zart_server.store.db import Tx

_STEP_BYTES = 200  # about, of an encoded step


class ExecutionServicer(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Starts, reads, watches and cancels executions."""

    def __init__(
        self, mutations: Mutations, reading: Reading, watches: Watches, long_polls: LongPolls
    ) -> None:
        self._reading = reading
        self._mutations = mutations
        self._watches = watches
        self._long_polls = long_polls
        self._starts = batched_starts(mutations, long_polls)

    async def StartExecution(  # noqa: N802 - the proto's name
        self, request: pb.StartExecutionRequest, context: Context
    ) -> pb.StartExecutionResponse:
        """Start one execution."""
        command = await aside.decoded(decode.start_execution, request)
        return await self._starts.run(request, command, command.caller)

    async def BatchStartExecutions(  # noqa: N802 - the proto's name
        self, request: pb.BatchStartExecutionsRequest, context: Context
    ) -> pb.BatchStartExecutionsResponse:
        """Start many executions, each by itself."""
        items_of(request.requests, "requests")
        batch = caller_of(request)
        items = await aside.decoded(_items, request.requests, batch)
        good = [item for item in items if isinstance(item, StartExecution)]

        async def operate(tx: Tx) -> pb.BatchStartExecutionsResponse:
            started = iter(await start_executions(tx, good, self._long_polls))
            results = [item if isinstance(item, ZartError) else next(started) for item in items]
            return pb.BatchStartExecutionsResponse(results=map(_result, results))

        return await self._mutations.run(
            request, pb.BatchStartExecutionsResponse, operate, target=CROWD
        )

    async def GetExecution(  # noqa: N802 - the proto's name
        self, request: pb.GetExecutionRequest, context: Context
    ) -> pb.GetExecutionResponse:
        """Read an execution, a run and its steps."""
        execution_id, run_number = decode.run_of(request)
        async with self._reading.looking() as tx:
            view = await reads.get_execution(tx, execution_id, run_number)
        return await aside.done(
            _STEP_BYTES * len(view.steps),
            lambda: pb.GetExecutionResponse(
                execution=encode.execution(view.execution),
                run=encode.run(view.run),
                steps=map(encode.step, view.steps),
            ),
        )

    async def GetStep(  # noqa: N802 - the proto's name
        self, request: pb.GetStepRequest, context: Context
    ) -> pb.GetStepResponse:
        """Read one step, whole."""
        with Checks() as check:
            execution_id, run_number = check(decode.run_of, request)
            step_name = check(name_of, request.step_name, "step_name")
        async with self._reading.transaction(snapshot=True) as tx:
            step = await reads.get_step(tx, execution_id, step_name, run_number)
        return pb.GetStepResponse(step=encode.step(step))

    async def ListExecutions(  # noqa: N802 - the proto's name
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        """List executions."""
        with Checks() as check:
            wanted = check(decode.list_executions, request)
            size, cursor = check(page_of, request)
        async with self._reading.transaction(snapshot=True) as tx:
            page = await reads.list_executions(tx, wanted, cursor, size)
        return pb.ListExecutionsResponse(
            executions=map(encode.execution, page.items),
            next_page_token=encode_cursor(request, page.next_cursor),
        )

    async def CancelExecution(  # noqa: N802 - the proto's name
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        """Cancel the current run."""
        command, caller = with_caller(decode.cancel_execution, request)

        async def operate(tx: Tx) -> pb.CancelExecutionResponse:
            done = await cancel_execution(tx, command, caller)
            return pb.CancelExecutionResponse(
                run=encode.run(done.run),
                fenced_steps=map(encode.fenced_step, done.fenced_steps),
            )

        return await self._mutations.run(
            request, pb.CancelExecutionResponse, operate, target=command.execution_id
        )

    async def WatchExecution(  # noqa: N802 - the proto's name
        self, request: pb.WatchExecutionRequest, context: Context
    ) -> AsyncIterator[pb.WatchExecutionResponse]:
        """Stream what changes."""
        execution_id, run_number = decode.run_of(request)
        async with aclosing(self._watches.watch(execution_id, run_number)) as all_told:
            async for told in all_told:
                view = told.view
                if told.message is None:  # else another watch of the same was faster
                    size = _STEP_BYTES * len(view.steps)
                    told.message = await aside.done(size, _watched, view)
                yield told.message

    async def ListTaskDefinitions(  # noqa: N802 - the proto's name
        self, request: pb.ListTaskDefinitionsRequest, context: Context
    ) -> pb.ListTaskDefinitionsResponse:
        """List the current task definitions."""
        size, cursor = page_of(request, str)
        async with self._reading.transaction() as tx:
            page = await reads.list_task_definitions(tx, cursor, size)
        return await aside.done(
            _STEP_BYTES * sum(len(definition.steps) for definition in page.items),
            lambda: pb.ListTaskDefinitionsResponse(
                task_definitions=[encode.task_definition(d, with_inputs=False) for d in page.items],
                next_page_token=encode_cursor(request, page.next_cursor),
            ),
        )

    async def GetTaskDefinition(  # noqa: N802 - the proto's name
        self, request: pb.GetTaskDefinitionRequest, context: Context
    ) -> pb.GetTaskDefinitionResponse:
        """Read one task definition."""
        task_name = name_of(request.task_name, "task_name")
        version = optional_number(request, "version", 1)
        async with self._reading.transaction() as tx:
            definition = await reads.get_task_definition(tx, task_name, version)
        return await aside.done(
            _STEP_BYTES * len(definition.steps),
            lambda: pb.GetTaskDefinitionResponse(
                task_definition=encode.task_definition(definition)
            ),
        )


def _items(
    requests: Sequence[pb.StartExecutionRequest], batch: Caller
) -> list[StartExecution | ZartError]:
    return [_item(item, batch) for item in requests]


def _item(request: pb.StartExecutionRequest, batch: Caller) -> StartExecution | ZartError:
    """Decode one item; a bad one becomes the error that stands in its place."""
    try:
        return decode.start_of_batch(request, batch)
    except ZartError as error:
        return error


def _result(result: StartResult) -> pb.BatchStartExecutionsResult:
    if isinstance(result, ZartError):
        return pb.BatchStartExecutionsResult(error=status_of(result))
    return pb.BatchStartExecutionsResult(execution=encode.execution(result))


def _watched(view: ExecutionView) -> pb.WatchExecutionResponse:
    return pb.WatchExecutionResponse(
        execution=encode.execution(view.execution),
        run=encode.run(view.run),
        steps=map(encode.step, view.steps),
    )
