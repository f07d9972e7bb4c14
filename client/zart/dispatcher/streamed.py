"""Leases and reports over one stream, in place of a call for each; what arrives is taken in hand.

A thread reads the stream, so that tasks which arrive are known to the lease keeper whatever the
event loop is busy with, as ``arrivals`` has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from zart.dispatcher.arrivals import Arrivals, Reported
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.errors import Unreachable, from_status
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

_log = logging.getLogger(__name__)
_WITHOUT = 60.0  # seconds of calls after a server that has no stream
_LAST_ANSWERS = 1.0  # seconds for the answer to a lease that nobody waits for any more


@dataclass(eq=False, slots=True)
class _Asked:
    """A request on its way: ``settle`` takes its answer, in the loop."""

    age: float
    settle: Callable[[Any, list[InHand], BaseException | None], None]
    at: float = field(default_factory=time.monotonic)


class _Stream:
    """One open stream. Its methods may be called from any thread."""

    def __init__(self, stub: Any, unseen: set[InHand], loop: asyncio.AbstractEventLoop) -> None:  # noqa: ANN401 - gRPC's
        self._unseen = unseen
        self._loop = loop
        self._to_send: queue.SimpleQueue[pb.DispatchTasksRequest | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._lock = threading.Lock()
        self._takes_more = True
        self.is_open = True
        self._call: Any = stub.DispatchTasks(self._requests())
        threading.Thread(target=self._read, name="zart-stream", daemon=True).start()

    def ask(self, request: pb.DispatchTasksRequest, asked: _Asked) -> bool:
        """Send a request; False if the stream takes no more."""
        with self._lock:
            if not self._takes_more:
                return False
            request.number = next(self._numbers)
            self._asked[request.number] = asked
            self._to_send.put(request)
            return True

    def half_close(self) -> None:
        """Send nothing more; what was asked is still answered, and leases end."""
        with self._lock:
            if self._takes_more:
                self._takes_more = False
                self._to_send.put(None)

    def cancel(self) -> None:
        """End it at once: what was asked ends with an error."""
        self._call.cancel()

    def _requests(self) -> Iterator[pb.DispatchTasksRequest]:
        while (request := self._to_send.get()) is not None:
            yield request

    def _read(self) -> None:
        """Take answers until the stream has ended; runs in a thread of its own."""
        error: BaseException = Unreachable("the stream has ended")
        try:
            for message in self._call:
                self._take(message)
        except grpc.RpcError as ended:
            error = ended
        except Exception as broken:  # noqa: BLE001 - passed on to who asked
            error = broken
            self._call.cancel()
        self.half_close()
        self.is_open = False
        with self._lock:
            left, self._asked = list(self._asked.values()), {}
        for asked in left:
            self._settle(asked, None, [], error)

    def _take(self, message: pb.DispatchTasksResponse) -> None:
        kind = message.WhichOneof("answer")
        if kind == "ending":
            self.half_close()
            return
        with self._lock:
            asked = self._asked.pop(message.number, None)
        if asked is None:
            _log.warning("the server answered what it was not asked")
        elif kind in {"leased", "reported"}:
            response = getattr(message, kind)
            in_hand = in_hand_of(response.tasks, max(asked.at, time.monotonic() - asked.age))
            self._unseen.update(in_hand)
            self._settle(asked, response, in_hand, None)
        else:
            self._settle(asked, None, [], from_status(message.error))

    def _settle(
        self,
        asked: _Asked,
        response: Any,  # noqa: ANN401 - a message, or None
        in_hand: list[InHand],
        error: BaseException | None,
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(asked.settle, response, in_hand, error)


class Streamed:
    """Leases and reports over a stream; with a server that has none, by ``calls``.

    A stream that ends is replaced with the next request. ``too_late`` takes the tasks that arrive
    after their caller was cancelled; ``age`` is as with ``Arrivals``.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        unseen: set[InHand],
        age: float,
        too_late: Callable[[list[InHand]], None],
        calls: Arrivals,
    ) -> None:
        self._stub = DispatchServiceStub(channel)
        self._unseen = unseen
        self._age = age
        self._too_late = too_late
        self._calls = calls
        self._stream: _Stream | None = None
        self._calls_until = 0.0

    async def lease(self, request: pb.LeaseTasksRequest, timeout: float) -> list[InHand]:
        """Ask for tasks. Raises RpcError or ZartError."""
        if self._has_stream():
            try:
                asked = pb.DispatchTasksRequest(lease=request)
                return (await self._ask(asked, timeout, self._age))[1]
            except grpc.RpcError as error:
                self._raise_unless_unknown(error)
        return await self._calls.lease(request, timeout)

    async def report(self, request: pb.ReportTasksRequest, timeout: float) -> Reported:
        """Report outcomes. Raises RpcError or ZartError, others if the channel is closed."""
        if self._has_stream():
            try:
                return await self._ask(pb.DispatchTasksRequest(report=request), timeout, timeout)
            except grpc.RpcError as error:
                self._raise_unless_unknown(error)
        return await self._calls.report(request, timeout)

    def _has_stream(self) -> bool:
        return time.monotonic() >= self._calls_until

    def _raise_unless_unknown(self, error: Any) -> None:  # noqa: ANN401 - gRPC's
        """Go on by calls if the server does not know the stream, else raise."""
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise error
        self._calls_until = time.monotonic() + _WITHOUT

    async def _ask(
        self, request: pb.DispatchTasksRequest, timeout: float, age: float
    ) -> tuple[Any, list[InHand]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Any, list[InHand]]] = loop.create_future()
        settled = asyncio.Event()

        def settle(response: Any, in_hand: list[InHand], error: BaseException | None) -> None:  # noqa: ANN401
            settled.set()
            if answer.done():  # nobody waits any more
                self._too_late(in_hand)
            elif error is None:
                now = time.monotonic()
                for one in in_hand:
                    one.arrived(now)
                answer.set_result((response, in_hand))
            else:
                answer.set_exception(error)

        stream = self._send(loop, request, _Asked(age, settle))
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            stream.cancel()
            raise Unreachable(f"no answer in {timeout:g} s") from None
        except asyncio.CancelledError:
            await self._called_off(stream, settled)
            if not answer.cancelled() and answer.exception() is None:
                self._too_late(answer.result()[1])
            raise

    def _send(
        self, loop: asyncio.AbstractEventLoop, request: pb.DispatchTasksRequest, asked: _Asked
    ) -> _Stream:
        while True:
            if self._stream is None:
                self._stream = _Stream(self._stub, self._unseen, loop)
            if self._stream.ask(request, asked):
                return self._stream
            self._stream = None

    async def _called_off(self, stream: _Stream, settled: asyncio.Event) -> None:
        """Have what was asked end: a lease does once its stream is half-closed."""
        stream.half_close()
        try:
            async with asyncio.timeout(_LAST_ANSWERS):
                await settled.wait()
        except TimeoutError:
            stream.cancel()
            await settled.wait()
