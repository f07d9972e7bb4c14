"""What a dispatcher's calls do, whether each is a call of its own or comes within a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api import decode_dispatch as decode
from zart_server.api import encode_dispatch
from zart_server.api.access import check_tasks
from zart_server.aside import decoded
from zart_server.domain.dispatch import LeasedTask, Outcome, Reported, ReportResult
from zart_server.domain.errors import ZartError
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.dispatch import Dispatch

Leasing: TypeAlias = "Coroutine[Any, Any, list[LeasedTask]]"
Reporting: TypeAlias = "Coroutine[Any, Any, Reported]"


async def _lease(work: Leasing) -> list[LeasedTask]:
    return await work


async def _report(work: Reporting) -> Reported:
    return await work


class DispatchCalls:
    """Leases, reports and extends on one server, from requests into responses.

    ``lease`` and ``report`` return the leased tasks, for the caller to release where the response
    does not arrive. With ``run`` the caller chooses how the part that leases is run.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._leased = encode_dispatch.LeasedTasks()

    async def lease(
        self,
        request: pb.LeaseTasksRequest,
        gone: asyncio.Event,
        into: pb.LeaseTasksResponse,
        run: Callable[[Leasing], Awaitable[list[LeasedTask]]] = _lease,
    ) -> Sequence[LeasedTask]:
        """Lease queued tasks; no more once the caller is ``gone``."""
        check_tasks(request.task_names)  # whose role is missing learns nothing of the arguments
        command = await decoded(decode.lease_tasks, request)
        tasks = await run(self._dispatch.lease(command, gone))
        self._leased.add(tasks, into)
        return tasks

    async def report(
        self,
        request: pb.ReportTasksRequest,
        into: pb.ReportTasksResponse,
        run: Callable[[Reporting], Awaitable[Reported]] = _report,
    ) -> Sequence[LeasedTask]:
        """Record outcomes; a bad one is rejected by itself."""
        check_tasks(request.lease_next.task_names)
        items = await decoded(decode.outcomes_of, request)
        good = [item for item in items if isinstance(item, Outcome)]
        reporting = self._dispatch.report(request.dispatcher_id, good)
        is_leasing = request.HasField("lease_next")
        reported = await (run(reporting) if is_leasing else reporting)
        results = reported.results
        if len(good) < len(items):
            recorded = iter(results)
            results = [
                ReportResult(sent.task_id, ReportStatus.REJECTED, item.message)
                if isinstance(item, ZartError)
                else next(recorded)
                for sent, item in zip(request.outcomes, items, strict=True)
            ]
        encode_dispatch.add_report_results(results, into)
        self._leased.add(reported.tasks, into)
        return reported.tasks

    async def extend(self, request: pb.ExtendLeasesRequest, into: pb.ExtendLeasesResponse) -> None:
        """Extend leases."""
        refs = await decoded(decode.lease_refs, request)
        results = await self._dispatch.extend(refs)
        into.results.extend(map(encode_dispatch.extend_result, results))
