"""One open stream: sends requests from any thread, and takes what arrives in hand.

A thread reads it, so that tasks which arrive are known to the lease keeper whatever the event loop
is busy with, as ``arrivals`` has it.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from zart.dispatcher import lease_clock
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.log import Log
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.thread_room import ThreadRoom
from zart.errors import from_status
from zart.tracebacks import locations_of
from zart.v1 import dispatch_service_pb2 as pb

_log = Log(__name__)
_MOMENT = 1.0  # seconds in which the reader learns of the end by itself
_THREADS = 2  # one that reads, and gRPC's that sends


class StreamEnded(Exception):
    """The stream has ended without an answer: nothing is known of the request."""


@dataclass(eq=False, slots=True)
class Asked:
    """A request on its way: ``settle`` takes its answer, from the thread that reads the stream.

    ``wait``: the seconds for which it waits at the server at most.
    """

    wait: float
    settle: Callable[[Any, list[InHand], BaseException | None], None]
    at: float = field(default_factory=lease_clock.now)


class Stream:
    """One open stream. Its methods may be called from any thread.

    ``pulse`` dates the leases that come by it. ``is_proven``: the server has answered on it, so
    that whatever is between passes it both ways. ``failure``: why it ended other than in order;
    None: it is open, or the server, or we, ended it in order. Raises RuntimeError where its threads
    cannot be started.
    """

    def __init__(
        self,
        stub: Any,  # noqa: ANN401 - gRPC's
        unseen: set[InHand],
        pulse: Pulse,
        room: ThreadRoom,
    ) -> None:
        self._unseen = unseen
        self._pulse = pulse
        self._to_send: queue.SimpleQueue[pb.DispatchTasksRequest | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._ping = next(self._numbers)
        self._asked: dict[int, Asked] = {}
        self._lock = threading.Lock()
        self.opened_at = time.monotonic()
        self.takes_more = True
        self.is_open = True
        self.is_proven = False
        self.failure: grpc.StatusCode | None = None
        self._to_send.put(pb.DispatchTasksRequest(number=self._ping, ping=pb.StreamPing()))
        self._call = call = room.begin(stub.DispatchTasks, self._requests(), more=_THREADS)
        if not hasattr(call, "add_callback"):  # OpenTelemetry's interceptors of earlier versions
            room.ended(call)
            raise TypeError("what intercepts calls makes a generator of a stream")
        if not call.add_callback(lambda: self._ended(room)):
            room.ended(call)  # it had ended before
        try:
            threading.Thread(target=self._read, name="zart-stream", daemon=True).start()
        except BaseException:  # nobody would read it
            self.fail(grpc.StatusCode.RESOURCE_EXHAUSTED)
            raise

    def ask(self, request: pb.DispatchTasksRequest, asked: Asked) -> None:
        """Send a request. Raises StreamEnded if the stream takes no more."""
        with self._lock:
            if not self.takes_more:
                raise StreamEnded
            request.number = next(self._numbers)
            self._asked[request.number] = asked
            self._to_send.put(request)

    def half_close(self) -> None:
        """Send nothing more; what was asked is still answered, and leases end."""
        with self._lock:
            if self.takes_more:
                self.takes_more = False
                self._to_send.put(None)

    def fail(self, code: grpc.StatusCode) -> None:
        """End it at once: what was asked ends with StreamEnded."""
        self.give_up(code)
        self._call.cancel()

    def give_up(self, code: grpc.StatusCode) -> None:
        """Send nothing more, for a reason; what was asked is still answered."""
        if self.failure is None and self.takes_more:
            self.failure = code
        self.half_close()

    def _requests(self) -> Iterator[pb.DispatchTasksRequest]:
        while (request := self._to_send.get()) is not None:
            yield request

    def _read(self) -> None:
        """Take answers until the stream has ended; runs in a thread of its own."""
        code = grpc.StatusCode.OK
        try:
            for message in self._call:
                self._take(message)
        except grpc.RpcError as ended:
            code = ended.code()
        except Exception as error:  # noqa: BLE001 - told; the calls go on
            _log.error("an answer could not be taken: %s", locations_of(error))
            code = grpc.StatusCode.INTERNAL
            self._call.cancel()
        self._end(code)

    def _end(self, code: grpc.StatusCode) -> None:
        """Have what is still asked end, after the stream has."""
        self.give_up(code)
        with self._lock:
            left, self._asked = list(self._asked.values()), {}
        for asked in left:
            asked.settle(None, [], StreamEnded())
        self.is_open = False

    def _ended(self, room: ThreadRoom) -> None:
        """Take it from gRPC, in its thread, that the call has ended.

        It may never tell the reader so, as ``next_messages`` has it: then that is left behind.
        """
        room.ended(self._call)
        overdue = threading.Timer(_MOMENT, self._end_unread)
        overdue.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread: what is asked ends with its own time
            overdue.start()

    def _end_unread(self) -> None:
        if self.is_open:
            self._end(self._call.code())

    def _take(self, message: pb.DispatchTasksResponse) -> None:
        kind = message.WhichOneof("answer")
        if kind == "ending":
            self.is_proven = True
            self.half_close()
            return
        if kind in {"pong", "error"} and message.number == self._ping:
            self.is_proven = True
            return
        with self._lock:
            asked = self._asked.pop(message.number, None)
        if asked is None:
            _log.warning("the server answered what it was not asked")
        elif kind in {"leased", "reported"}:
            response = getattr(message, kind)
            in_hand = in_hand_of(response.tasks, self._pulse.leased_at(asked.at, asked.wait))
            self._unseen.update(in_hand)
            asked.settle(response, in_hand, None)
        else:
            asked.settle(None, [], from_status(message.error))
