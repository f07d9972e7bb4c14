"""DispatchService: hands out queued tasks and takes what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc
from zart_server.api import decode_dispatch as decode
from zart_server.api import encode_dispatch
from zart_server.api.access import check_tasks
from zart_server.api.context import Context
from zart_server.api.identity import principal
from zart_server.api.mutations.dispatch import REGISTER_TASK
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.outliving import outcome_of
from zart_server.aside import decoded
from zart_server.domain.dispatch import LeasedTask, Outcome, Reported, ReportResult
from zart_server.domain.errors import ZartError
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.dispatch import Dispatch

T = TypeVar("T")


@dataclass(slots=True)
class _LeaseCall:
    """A call that leases: what it has leased is given back where the response cannot arrive."""

    principal: str
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    leasing: asyncio.Task[list[LeasedTask] | Reported] | None = None
    is_answered: bool = False


class DispatchServicer(dispatch_service_pb2_grpc.DispatchServiceServicer):
    """What dispatchers call."""

    def __init__(self, dispatch: Dispatch, mutations: Mutations) -> None:
        self._dispatch = dispatch
        self._mutations = mutations
        self._leased = encode_dispatch.LeasedTasks()
        self._releases: set[asyncio.Task[None]] = set()

    async def RegisterTask(  # noqa: N802 - the proto's name
        self, request: pb.RegisterTaskRequest, context: Context
    ) -> pb.RegisterTaskResponse:
        """Make a definition current."""
        return await self._mutations.run(REGISTER_TASK, request)

    async def LeaseTasks(  # noqa: N802 - the proto's name
        self, request: pb.LeaseTasksRequest, context: Context
    ) -> pb.LeaseTasksResponse:
        """Lease queued tasks; they are given back at once where the response cannot arrive."""
        command = await decoded(decode.lease_tasks, request)
        check_tasks(command.task_names)
        call = _LeaseCall(command.principal)
        tasks = await self._answer(call, self._dispatch.lease(command, call.gone), context)
        response = pb.LeaseTasksResponse()
        self._leased.add(tasks, response)
        return response

    async def _answer(
        self, call: _LeaseCall, leasing: Coroutine[Any, Any, T], context: Context
    ) -> T:
        """Lease, whatever happens to the caller meanwhile."""
        task = asyncio.create_task(leasing)
        call.leasing = cast("asyncio.Task[list[LeasedTask] | Reported]", task)
        # The stubs give it the client's signature.
        context.add_done_callback(cast("Any", lambda _: self._when_ended(context, call)))
        answer = await outcome_of(task)
        call.is_answered = True
        return answer

    def _when_ended(self, context: Context, call: _LeaseCall) -> None:
        """Give back what a call that was cancelled, or lost its connection, has leased."""
        leasing, call.leasing = call.leasing, None
        if leasing is None or (call.is_answered and not context.cancelled()):
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

    async def GetStepResults(  # noqa: N802 - the proto's name
        self, request: pb.GetStepResultsRequest, context: Context
    ) -> pb.GetStepResultsResponse:
        """Read results of direct dependencies."""
        lease, names = await decoded(decode.step_results, request)
        results = await self._dispatch.step_results(lease, names)
        return pb.GetStepResultsResponse(results=results)

    async def ReportTasks(  # noqa: N802 - the proto's name
        self, request: pb.ReportTasksRequest, context: Context
    ) -> pb.ReportTasksResponse:
        """Record outcomes; a bad one is rejected by itself."""
        items = await decoded(decode.outcomes_of, request)
        check_tasks(request.lease_next.task_names)
        good = [item for item in items if isinstance(item, Outcome)]
        reporting = self._dispatch.report(request.dispatcher_id, good)
        if request.HasField("lease_next"):
            reported = await self._answer(_LeaseCall(principal()), reporting, context)
        else:
            reported = await reporting
        results = reported.results
        if len(good) < len(items):
            recorded = iter(results)
            results = [
                ReportResult(sent.task_id, ReportStatus.REJECTED, item.message)
                if isinstance(item, ZartError)
                else next(recorded)
                for sent, item in zip(request.outcomes, items, strict=True)
            ]
        response = pb.ReportTasksResponse(results=map(encode_dispatch.report_result, results))
        self._leased.add(reported.tasks, response)
        return response

    async def ExtendLeases(  # noqa: N802 - the proto's name
        self, request: pb.ExtendLeasesRequest, context: Context
    ) -> pb.ExtendLeasesResponse:
        """Extend leases."""
        refs = await decoded(decode.lease_refs, request)
        results = await self._dispatch.extend(refs)
        return pb.ExtendLeasesResponse(results=map(encode_dispatch.extend_result, results))
