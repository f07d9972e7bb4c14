"""Takes leased tasks in hand the moment they arrive, whatever the event loop is busy with.

A handler may hold up the loop for longer than a lease while an answer is on its way. So who asks
for tasks, by a poll or along with a report, does it through gRPC's own threads, and one of those
hands what came to the keeper of leases, before the loop knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from zart.dispatcher.held import Held, held_of
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

Lease = Callable[[pb.LeaseTasksRequest, float], Awaitable[list[Held]]]
"""Asks for tasks, so many seconds at most; gives them as they are held. Raises RpcError."""

Reported = tuple[pb.ReportTasksResponse, list[Held]]
Report = Callable[[pb.ReportTasksRequest, float], Awaitable[Reported]]
"""Reports outcomes, so many seconds at most; gives the answer, and what it leases as it is held.
Raises RpcError, and whatever else a channel does that is closed."""


class InTheLoop:
    """Leases and reports by the event loop alone, where that has the only channel."""

    def __init__(self, stub: DispatchServiceAsyncStub, age: float) -> None:
        self._stub = stub
        self._age = age

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[Held]:
        """Ask for tasks. Raises RpcError."""
        asked_at = time.monotonic()
        response = await self._stub.LeaseTasks(request, timeout=timeout)
        return held_of(response.tasks, max(asked_at, time.monotonic() - self._age))

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes. Raises RpcError."""
        asked_at = time.monotonic()
        response = await self._stub.ReportTasks(request, timeout=timeout)
        return response, held_of(response.tasks, asked_at)


class Arrivals:
    """Leases and reports through ``channel``; what came unseen by the loop is in ``unseen``.

    There it stays until whoever asked puts it where it is kept. ``age``: for so many seconds at
    most an answer is on its way, however long the call waited for something to lease. ``too_late``
    takes what came for somebody who had stopped waiting.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        unseen: set[Held],
        age: float,
        too_late: Callable[[list[Held]], None],
    ) -> None:
        self._stub = DispatchServiceStub(channel)
        self._unseen = unseen
        self._age = age
        self._too_late = too_late

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[Held]:
        """Ask for tasks. Raises RpcError."""
        _, held = await self._call(self._stub.LeaseTasks, request, timeout, self._age)
        return held

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes. Raises RpcError, and FutureCancelledError if the channel is closed."""
        return await self._call(self._stub.ReportTasks, request, timeout, timeout)

    async def _call(
        self,
        method: Any,  # noqa: ANN401 - gRPC's
        request: pb.LeaseTasksRequest | pb.ReportTasksRequest,
        timeout: float,
        age: float,
    ) -> tuple[Any, list[Held]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Any, list[Held]]] = loop.create_future()
        settled = asyncio.Event()
        asked_at = time.monotonic()
        call: Any = method.future(request, timeout=timeout)

        def ended(call: Any) -> None:  # noqa: ANN401 - gRPC's; in its thread
            response, held, error = self._taken(call, asked_at, age)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, response, held, error)

        def settle(response: Any, held: list[Held], error: BaseException | None) -> None:  # noqa: ANN401
            settled.set()
            if answer.done():  # nobody waits any more
                self._too_late(held)
            elif error is None:
                now = time.monotonic()
                for one in held:
                    one.arrived(now)
                answer.set_result((response, held))
            else:
                answer.set_exception(error)

        call.add_done_callback(ended)
        try:
            return await answer
        except asyncio.CancelledError:
            call.cancel()  # which ends it at once; it may have been answered before
            await settled.wait()
            if not answer.cancelled() and answer.exception() is None:
                self._too_late(answer.result()[1])
            raise

    def _taken(
        self,
        call: Any,  # noqa: ANN401 - gRPC's
        asked_at: float,
        age: float,
    ) -> tuple[Any, list[Held], BaseException | None]:
        try:
            response: Any = call.result()
            held = held_of(response.tasks, max(asked_at, time.monotonic() - age))
        except Exception as error:  # noqa: BLE001 - passed on to who asked
            return None, [], error
        self._unseen.update(held)
        return response, held, None
