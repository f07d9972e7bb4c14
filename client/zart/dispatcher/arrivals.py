"""Takes leased tasks in hand the moment they arrive, whatever the event loop is busy with.

A handler may block the loop for longer than a lease while an answer is on its way. So tasks are
asked for, by a poll or along with a report, through gRPC's own threads. One of these threads gives
the tasks that arrive to the lease keeper, before the loop knows of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from zart.dispatcher import lease_clock
from zart.dispatcher.in_hand import InHand, in_hand_of, seconds_of
from zart.dispatcher.pending_answer import PendingAnswer
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.thread_room import ThreadRoom
from zart.errors import Unreachable
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_OVERDUE = 5.0  # seconds after its time in which a call ends, unless its channel is lost

Lease = Callable[[pb.LeaseTasksRequest, float], Awaitable[list[InHand]]]
"""Asks for tasks, with a timeout in seconds; returns them as tasks in hand. Raises RpcError, and
other errors where a call cannot even be begun, or nobody is told of its end."""

Reported = tuple[pb.ReportTasksResponse, list[InHand]]
Report = Callable[[pb.ReportTasksRequest, float], Awaitable[Reported]]
"""Reports outcomes, with a timeout in seconds; returns the answer, and the tasks that it leases.
Raises as ``Lease``, and other errors if the channel is closed."""


class Reports(NamedTuple):
    """How outcomes are reported: together, and those that fail by themselves, one ``apart``."""

    together: Report
    apart: Report


class InTheLoop:
    """Leases and reports in the event loop, if the loop's channel is the only one."""

    def __init__(self, stub: DispatchServiceAsyncStub, pulse: Pulse) -> None:
        self._stub = stub
        self._pulse = pulse

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[InHand]:
        """Ask for tasks. Raises RpcError."""
        asked_at, wait = lease_clock.now(), seconds_of(request.wait)
        response = await self._stub.LeaseTasks(request, timeout=timeout)
        return in_hand_of(response.tasks, self._pulse.leased_at(asked_at, wait))

    @property
    def reports(self) -> Reports:
        """How outcomes are reported."""
        return Reports(self.report, self.report)

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes. Raises RpcError."""
        asked_at = lease_clock.now()
        response = await self._stub.ReportTasks(request, timeout=timeout)
        return response, in_hand_of(response.tasks, asked_at)


class Arrivals:
    """Leases and reports through ``channel``, and puts each task that arrives into ``unseen``.

    A task stays there until the caller moves it to the tasks in hand. ``pulse`` dates its lease.
    ``too_late`` takes the tasks that arrive after their caller was cancelled. ``room`` is for the
    threads of all calls on the channel.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        unseen: set[InHand],
        pulse: Pulse,
        too_late: Callable[[list[InHand]], None],
    ) -> None:
        self._stub = DispatchServiceStub(channel)
        self._unseen = unseen
        self._pulse = pulse
        self._too_late = too_late
        self.room = ThreadRoom(channel)

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[InHand]:
        """Ask for tasks. Raises as ``report``."""
        wait = seconds_of(request.wait)
        return (await self._call(self._stub.LeaseTasks, request, timeout, wait))[1]

    @property
    def reports(self) -> Reports:
        """How outcomes are reported."""
        return Reports(self.report, self.report)

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes.

        Raises RpcError, FutureCancelledError if the channel is closed, RuntimeError where no thread
        can be started, and Unreachable where gRPC tells nobody how the call ended.
        """
        return await self._call(self._stub.ReportTasks, request, timeout, 0.0)

    async def _call(
        self,
        method: Any,  # noqa: ANN401 - gRPC's
        request: pb.LeaseTasksRequest | pb.ReportTasksRequest,
        timeout: float,
        wait: float,
    ) -> tuple[Any, list[InHand]]:
        pending = PendingAnswer(self._too_late)
        asked_at = lease_clock.now()
        call = self.room.begin(method.future, request, timeout=timeout)

        def ended(call: Any) -> None:  # noqa: ANN401 - gRPC's; in its thread
            self.room.ended(call)
            pending.settle(*self._taken(call, asked_at, wait))

        call.add_done_callback(ended)
        try:
            return await pending.get(timeout + _OVERDUE)
        except TimeoutError:
            call.cancel()
            raise Unreachable(f"no answer in {timeout:g} s, nor an end") from None
        except asyncio.CancelledError:
            call.cancel()  # which ends it at once; it may have been answered before
            await pending.call_off()
            raise

    def _taken(
        self,
        call: Any,  # noqa: ANN401 - gRPC's
        asked_at: float,
        wait: float,
    ) -> tuple[Any, list[InHand], BaseException | None]:
        try:
            response: Any = call.result()
            in_hand = in_hand_of(response.tasks, self._pulse.leased_at(asked_at, wait))
        except Exception as error:  # noqa: BLE001 - passed on to who asked
            return None, [], error
        self._unseen.update(in_hand)
        return response, in_hand, None
