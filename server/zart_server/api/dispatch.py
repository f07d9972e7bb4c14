"""DispatchService: hands out queued tasks and takes what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc
from zart_server.api import decode_dispatch as decode
from zart_server.api.context import Context
from zart_server.api.dispatch_calls import DispatchCalls
from zart_server.api.dispatch_streams import DispatchStreams
from zart_server.api.identity import principal
from zart_server.api.mutations.dispatch import REGISTER_TASK
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.outliving import outcome_of
from zart_server.api.served_call import Door
from zart_server.aside import decoded
from zart_server.domain.dispatch import LeasedTask, Reported
from zart_server.engine.dispatch.dispatch import Dispatch

T = TypeVar("T")


@dataclass(slots=True)
class _LeaseCall:
    """A call that leases: what it has leased is given back where its caller is gone by then."""

    principal: str
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    leasing: asyncio.Task[list[LeasedTask] | Reported] | None = None
    is_answered: bool = False


class DispatchServicer(dispatch_service_pb2_grpc.DispatchServiceServicer):
    """What dispatchers call. ``age``: the seconds that a stream lasts at most."""

    def __init__(self, dispatch: Dispatch, mutations: Mutations, door: Door, age: float) -> None:
        self._dispatch = dispatch
        self._mutations = mutations
        self._calls = DispatchCalls(dispatch)
        self._streams = DispatchStreams(dispatch, self._calls, door, age)
        self._releases: set[asyncio.Task[None]] = set()

    async def RegisterTask(
        self, request: pb.RegisterTaskRequest, context: Context
    ) -> pb.RegisterTaskResponse:
        """Make a definition current."""
        return await self._mutations.run(REGISTER_TASK, request)

    async def LeaseTasks(
        self, request: pb.LeaseTasksRequest, context: Context
    ) -> pb.LeaseTasksResponse:
        """Lease queued tasks; they are given back at once where the caller is gone by then."""
        call = _LeaseCall(principal())
        response = pb.LeaseTasksResponse()
        await self._calls.lease(
            request, call.gone, response, lambda leasing: self._answer(call, leasing, context)
        )
        return response

    async def _answer(
        self, call: _LeaseCall, leasing: Coroutine[Any, Any, T], context: Context
    ) -> T:
        """Lease, whatever happens to the caller meanwhile."""
        task = asyncio.create_task(leasing)
        call.leasing = cast("asyncio.Task[list[LeasedTask] | Reported]", task)
        # The stubs give it the client's signature.
        context.add_done_callback(cast("Any", lambda _: self._when_ended(call)))
        answer = await outcome_of(task)
        call.is_answered = True
        return answer

    def _when_ended(self, call: _LeaseCall) -> None:
        """Give back what a call has leased that ended without an answer: cancelled, or cut off.

        Whether an answer could be sent gRPC does not tell: a lease that is lost so expires.
        """
        leasing, call.leasing = call.leasing, None
        if leasing is None or call.is_answered:
            # gRPC's call and this callback know each other: they are garbage until that is looked
            # for, and would keep all the tasks of the answer for as long.
            return
        call.gone.set()
        self._dispatch.long_polls.drop_gone()
        release = asyncio.create_task(self._release(leasing, call.principal))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)

    async def _release(
        self, leasing: asyncio.Task[list[LeasedTask] | Reported], caller: str
    ) -> None:
        await asyncio.wait([leasing])
        if leasing.cancelled() or leasing.exception() is not None:
            return
        leased = leasing.result()
        if tasks := leased.tasks if isinstance(leased, Reported) else leased:
            await self._dispatch.release(tasks, caller)

    async def GetStepResults(
        self, request: pb.GetStepResultsRequest, context: Context
    ) -> pb.GetStepResultsResponse:
        """Read results of direct dependencies."""
        lease, names = await decoded(decode.step_results, request)
        results = await self._dispatch.step_results(lease, names)
        return pb.GetStepResultsResponse(results=results)

    async def ReportTasks(
        self, request: pb.ReportTasksRequest, context: Context
    ) -> pb.ReportTasksResponse:
        """Record outcomes; a bad one is rejected by itself."""
        response = pb.ReportTasksResponse()
        await self._calls.report(
            request,
            response,
            lambda reporting: self._answer(_LeaseCall(principal()), reporting, context),
        )
        return response

    async def ExtendLeases(
        self, request: pb.ExtendLeasesRequest, context: Context
    ) -> pb.ExtendLeasesResponse:
        """Extend leases."""
        response = pb.ExtendLeasesResponse()
        await self._calls.extend(request, response)
        return response

    async def DispatchTasks(
        self, requests: AsyncIterator[pb.DispatchTasksRequest], context: Context
    ) -> AsyncIterator[pb.DispatchTasksResponse]:
        """Answer the requests of a stream."""
        async with aclosing(self._streams.answers(requests, context)) as answers:
            async for answer in answers:
                yield answer
