"""Leases and reports over a stream while there is one that passes, by calls as long as not.

A stream is opened beside the calls, and nothing rests on it before the server has answered a ping:
a server from before it, and a proxy that ends streams or holds them back, cost nobody a wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from zart.dispatcher.arrivals import Arrivals, InTheLoop, Reported, Reports
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.in_hand import InHand, seconds_of
from zart.dispatcher.log import Log
from zart.dispatcher.pending_answer import PendingAnswer
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.stream import Asked, Stream, StreamEnded
from zart.errors import Unavailable, Unreachable
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = Log(__name__)
_PATIENCE = 10.0  # seconds for the answer to a ping, while calls are made
_LONGEST = 60.0  # seconds until the next stream, after streams that came to nothing
_LASTING = 60.0  # seconds after which a stream did not come to nothing
_MANY = 50  # outcomes; more go by a call


class Streamed:
    """Leases and reports over a stream, else by ``calls``.

    What a stream that ends leaves unanswered is asked again by a call: a lease that it did not
    bring is given back by the server, and an outcome is recorded once. ``too_late`` takes the tasks
    that arrive after their caller was cancelled; ``pulse`` is as with ``Arrivals``. ``patience``:
    the seconds in which a stream is to pass.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        unseen: set[InHand],
        pulse: Pulse,
        too_late: Callable[[list[InHand]], None],
        calls: Arrivals,
        patience: float = _PATIENCE,
    ) -> None:
        self._stub = DispatchServiceStub(channel)
        self._unseen = unseen
        self._pulse = pulse
        self._too_late = too_late
        self._calls = calls
        self._patience = patience
        self._stream: Stream | None = None
        self._backoff = Backoff(_LONGEST)
        self._open_at = 0.0
        self._is_told = False

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[InHand]:
        """Ask for tasks. Raises RpcError or ZartError, others where no call can be begun."""
        stream = self._proven()
        if stream is not None:
            asked = pb.DispatchTasksRequest(lease=request)
            try:
                return (await self._ask(stream, asked, timeout, seconds_of(request.wait)))[1]
            except StreamEnded:
                pass
            except Unavailable:  # of this server: a call, and the next stream, may find another one
                stream.give_up(grpc.StatusCode.UNAVAILABLE)
        return await self._calls.lease(request, timeout)

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes. Raises as ``lease``, and others if the channel is closed."""
        # Beside many outcomes the call itself costs nothing, and it waits for no other message.
        stream = self._proven() if len(request.outcomes) <= _MANY else None
        if stream is not None:
            # A call repeats by itself what was refused for a moment.
            with contextlib.suppress(StreamEnded, Unavailable):
                asked = pb.DispatchTasksRequest(report=request)
                return await self._ask(stream, asked, timeout, 0.0)
        return await self._calls.report(request, timeout)

    @property
    def reports(self) -> Reports:
        """How outcomes are reported; one that fails by itself would hold up all on the stream."""
        return Reports(self.report, self._calls.report)

    def _proven(self) -> Stream | None:
        """Return the stream if it is known to pass; else open one in time, and return None."""
        stream, now = self._stream, time.monotonic()
        if stream is not None and stream.takes_more:
            if stream.is_proven:
                return stream
            if now < stream.opened_at + self._patience:
                return None
            stream.fail(grpc.StatusCode.DEADLINE_EXCEEDED)
        if stream is not None:
            self._stream = None
            self._note_end(stream, now)
        if now >= self._open_at:
            self._open(now)
        return None

    def _open(self, now: float) -> None:
        try:
            self._stream = Stream(self._stub, self._unseen, self._pulse, self._calls.room)
        except Exception as error:  # noqa: BLE001 - no thread can be started, say; the calls go on
            self._note_failure(repr(error), now + self._backoff.delay())

    def _note_end(self, stream: Stream, now: float) -> None:
        """Have the next stream wait the longer the less came of the last ones."""
        if stream.failure is None or (stream.is_proven and now >= stream.opened_at + _LASTING):
            self._backoff.reset()
            self._is_told = False
        if stream.failure is None:
            return
        is_unknown = stream.failure is grpc.StatusCode.UNIMPLEMENTED
        wait = _LONGEST if is_unknown else self._backoff.delay()
        self._note_failure(f"the stream ended, {stream.failure.name}", now + wait)

    def _note_failure(self, why: str, open_at: float) -> None:
        self._open_at = open_at
        if not self._is_told:
            self._is_told = True
            _log.info("leases and reports go by calls for a while: %s", why)

    async def _ask(
        self, stream: Stream, request: pb.DispatchTasksRequest, timeout: float, wait: float
    ) -> tuple[Any, list[InHand]]:
        """Ask over a stream. Raises StreamEnded, Unreachable, or the error of the answer."""
        pending = PendingAnswer(self._too_late)
        stream.ask(request, Asked(wait, pending.settle))
        try:
            return await pending.get(timeout)
        except TimeoutError:
            stream.fail(grpc.StatusCode.DEADLINE_EXCEEDED)
            raise Unreachable(f"no answer in {timeout:g} s") from None
        except asyncio.CancelledError:
            self._open_at = float("inf")  # the dispatcher stops: what is left goes by calls
            await self._call_off(stream, pending)
            raise

    async def _call_off(self, stream: Stream, pending: PendingAnswer) -> None:
        """Have what was asked end: a lease does once its stream is half-closed."""
        stream.half_close()
        if not await pending.call_off():
            stream.fail(grpc.StatusCode.CANCELLED)
            await pending.call_off()


def ways(
    stub: DispatchServiceAsyncStub,
    leases: grpc.Channel | None,
    unseen: set[InHand],
    pulse: Pulse,
    too_late: Callable[[list[InHand]], None],
    *,
    streams: bool,
) -> InTheLoop | Arrivals | Streamed:
    """Return how tasks are leased and reported: over ``leases``; in the loop where it is None."""
    if leases is None:
        return InTheLoop(stub, pulse)
    calls = Arrivals(leases, unseen, pulse, too_late)
    return Streamed(leases, unseen, pulse, too_late, calls) if streams else calls
