"""ExecutionService: a handler runs its mutation, or decodes, reads in one transaction, encodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from zart.v1 import execution_service_pb2 as pb
from zart.v1 import execution_service_pb2_grpc
from zart_server import aside
from zart_server.api import decode_execution as decode
from zart_server.api import decode_filter, encode, encode_filtered, encode_step
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode_causes import explained_step
from zart_server.api.execution_reads import ExecutionReads
from zart_server.api.fields import name_of, optional_number
from zart_server.api.mutations.execution import (
    CANCEL_EXECUTION,
    batch_start_mutation,
    start_mutation,
)
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.api.responses import Responses
from zart_server.api.too_large import leave_out_too_much, without_steps_if_too_large
from zart_server.domain.commands import ExecutionView
from zart_server.engine.background.watches import Watches
from zart_server.engine.dispatch.dispatch import Dispatch
from zart_server.store import reads

_STEP_BYTES = 200  # about, of an encoded step


class ExecutionServicer(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Starts, reads, watches and cancels executions."""

    def __init__(
        self, mutations: Mutations, reading: Reading, watches: Watches, dispatch: Dispatch
    ) -> None:
        self._reading = reading
        self._executions = ExecutionReads(reading)
        self._mutations = mutations
        self._watches = watches
        self._dispatch = dispatch
        self._start = start_mutation(dispatch.long_polls, mutations.db.last_current)
        self._batch_start = batch_start_mutation(dispatch.long_polls)

    async def StartExecution(
        self, request: pb.StartExecutionRequest, context: Context
    ) -> pb.StartExecutionResponse:
        """Start one execution."""
        return await self._mutations.run(self._start, request)

    async def BatchStartExecutions(
        self, request: pb.BatchStartExecutionsRequest, context: Context
    ) -> pb.BatchStartExecutionsResponse:
        """Start many executions, each by itself."""
        return await self._mutations.run(self._batch_start, request)

    async def GetExecution(
        self, request: pb.GetExecutionRequest, context: Context
    ) -> pb.GetExecutionResponse:
        """Read an execution, a run and its steps."""
        execution_id, run_number = decode.run_of(request)
        view = await self._executions.get(execution_id, run_number)
        return await aside.done(_STEP_BYTES * len(view.steps), _read, view)

    async def GetStep(self, request: pb.GetStepRequest, context: Context) -> pb.GetStepResponse:
        """Read one step, whole."""
        with Checks() as check:
            run = check(decode.run_of, request)
            step_name = check(name_of, request.step_name, "step_name")
        execution_id, run_number = run
        async with self._reading.transaction(snapshot=True) as tx:
            step = await reads.get_step(tx, execution_id, step_name, run_number)
        return pb.GetStepResponse(step=encode_step.step(step))

    async def ExplainStep(
        self, request: pb.ExplainStepRequest, context: Context
    ) -> pb.ExplainStepResponse:
        """Tell why steps are not completed."""
        with Checks() as check:
            run = check(decode.run_of, request)
            step_name = check(name_of, request.step_name, "step_name") if request.step_name else ""
        execution_id, run_number = run
        async with self._reading.transaction(snapshot=True) as tx:
            asked = self._dispatch.asked_by_now
            known = await reads.read_known_steps(tx, execution_id, step_name, run_number, asked)
        return await aside.done(
            known.size,
            lambda: pb.ExplainStepResponse(steps=map(explained_step, known.explained())),
        )

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        """List executions."""
        with Checks() as check:
            wanted = check(decode_filter.list_executions, request)
            size, cursor = check(page_of, request)
        async with self._reading.transaction(snapshot=True) as tx:
            page = await reads.list_executions(tx, wanted, cursor, size)
        response = pb.ListExecutionsResponse()
        response.next_page_token = await add_page(
            request, page, encode.execution, response.executions.append
        )
        return response

    async def CountExecutions(
        self, request: pb.CountExecutionsRequest, context: Context
    ) -> pb.CountExecutionsResponse:
        """Count executions."""
        wanted = decode_filter.filter_of(request.filter, "filter")
        async with self._reading.transaction(snapshot=True) as tx:
            counts = await reads.count_executions(tx, wanted)
        return encode_filtered.counts(counts)

    async def ListErrorGroups(
        self, request: pb.ListErrorGroupsRequest, context: Context
    ) -> pb.ListErrorGroupsResponse:
        """List the kinds of errors that steps are dead of."""
        with Checks() as check:
            wanted = check(decode_filter.groups_wanted, request)
            size, cursor = check(page_of, request, str)
        async with self._reading.transaction(snapshot=True) as tx:
            page = await reads.list_error_groups(tx, wanted, cursor, size)
        response = pb.ListErrorGroupsResponse()
        response.next_page_token = await add_page(
            request, page, encode_filtered.error_group, response.error_groups.append
        )
        return response

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        """Cancel the current run."""
        return await self._mutations.run(CANCEL_EXECUTION, request)

    async def WatchExecution(  # type: ignore[override]  # by Responses, not an iterator
        self, request: pb.WatchExecutionRequest, context: Responses
    ) -> pb.WatchExecutionResponse:
        """Stream what changes."""
        return await self._last_state(*decode.run_of(request), context.write)

    async def RunExecution(  # type: ignore[override]  # by Responses, not an iterator
        self, request: pb.RunExecutionRequest, context: Responses
    ) -> pb.RunExecutionResponse:
        """Start one execution, and stream what changes."""
        started = await self._mutations.run(self._start, request.start)
        await context.write(pb.RunExecutionResponse(started=started))

        async def tell(state: pb.WatchExecutionResponse) -> None:
            await context.write(pb.RunExecutionResponse(state=state))

        last = await self._last_state(started.execution.execution_id, None, tell)
        return pb.RunExecutionResponse(state=last)

    async def _last_state(
        self,
        execution_id: str,
        run_number: int | None,
        tell: Callable[[pb.WatchExecutionResponse], Awaitable[None]],
    ) -> pb.WatchExecutionResponse:
        """Tell each state as it comes, but return the last one."""
        async with aclosing(self._watches.watch(execution_id, run_number)) as all_told:
            async for told in all_told:
                if told.message is None:  # else another watch of the same was faster
                    size = _STEP_BYTES * len(told.view.steps)
                    told.message = await aside.done(size, _watched, told.view)
                state: pb.WatchExecutionResponse = told.message
                if told.is_last:
                    return state
                await tell(state)
        raise LookupError("a watch has ended before its run")

    async def ListTaskDefinitions(
        self, request: pb.ListTaskDefinitionsRequest, context: Context
    ) -> pb.ListTaskDefinitionsResponse:
        """List the current task definitions."""
        size, cursor = page_of(request, str)
        async with self._reading.transaction() as tx:
            page = await reads.list_task_definitions(tx, cursor, size)
        response = pb.ListTaskDefinitionsResponse()
        response.next_page_token = await add_page(
            request,
            page,
            lambda found: without_steps_if_too_large(
                encode.task_definition(found, with_inputs=False)
            ),
            response.task_definitions.append,
        )
        return response

    async def GetTaskDefinition(
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


def _read(view: ExecutionView) -> pb.GetExecutionResponse:
    response = pb.GetExecutionResponse(
        execution=encode.execution(view.execution), run=encode.run(view.run)
    )
    encode_step.add_steps(response.steps, view.steps)
    leave_out_too_much(response)
    return response


def _watched(view: ExecutionView) -> pb.WatchExecutionResponse:
    response = pb.WatchExecutionResponse(
        execution=encode.execution(view.execution), run=encode.run(view.run)
    )
    encode_step.add_steps(response.steps, view.steps)
    leave_out_too_much(response)
    return response
