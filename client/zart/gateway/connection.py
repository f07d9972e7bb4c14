"""uvicorn's protocol of HTTP/1.1, with bounds on how long it waits for its caller."""

from __future__ import annotations

import asyncio
import enum
from typing import Any, cast

import h11
from google.rpc import code_pb2
from uvicorn.protocols.http.h11_impl import H11Protocol

from zart.gateway.calls import GRACE
from zart.gateway.heads import NOT_HTTP
from zart.gateway.presence import note_answer
from zart.gateway.progress import is_all_taken, taken
from zart.gateway.statuses import Refusal, json_of, refusal, retry_in
from zart.gateway.waiting import Waiting
from zart.networks import network_of

_LATE = refusal(code_pb2.DEADLINE_EXCEEDED, "the request did not come to its end in time", http=408)
_TOO_MANY = refusal(
    code_pb2.UNAVAILABLE,
    "too many connections wait for the end of a request",
    retry_in(1),
    reason="SERVER_BUSY",
    http=503,
)


class _Awaited(enum.Enum):
    """What a connection waits for."""

    ANOTHER = enum.auto()  # request: it had an answer, and nothing has come since
    HEAD = enum.auto()
    BODY = enum.auto()


class Connection(H11Protocol):
    """One connection. It waits while it has no whole request, and while nobody reads its answer."""

    def __init__(self, waiting: Waiting, **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**given)
        self.address = ""
        self._waiting = waiting
        self._awaited: _Awaited | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.address = network_of(self.client[0] if self.client else "")
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take what came, and see what it is that is waited for now."""
        super().data_received(data)
        self._look(len(data))

    def on_response_complete(self) -> None:
        """Begin to wait for the next head, or for the rest of a body that nobody wants."""
        super().on_response_complete()
        self._expect_progress()  # what it wrote may be on its way for long
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._awaited = None
        self._waiting.end(self)
        self._stop_reading()
        super().connection_lost(exc)

    def _look(self, received: int = 0) -> None:
        awaited, before = self._awaits(), self._awaited
        self._awaited = awaited
        if awaited is None:
            self._waiting.end(self)
        elif awaited is _Awaited.BODY and before is _Awaited.BODY:
            self._waiting.progress(self, received)
        elif awaited is not before and awaited is _Awaited.ANOTHER:
            self._waiting.keep(self)
        elif awaited is not before:
            self._waiting.begin(self)

    def _awaits(self) -> _Awaited | None:
        """Return what it waits for; None: it has a whole request, or comes to its end."""
        if self.transport.is_closing():
            return None
        if self.conn.their_state is h11.SEND_BODY:
            return _Awaited.BODY
        if self.conn.their_state is not h11.IDLE:
            return None
        is_new = self.cycle is None
        return _Awaited.HEAD if is_new or self._has_begun_a_head() else _Awaited.ANOTHER

    def _has_begun_a_head(self) -> bool:
        return bool(self.conn.trailing_data[0])

    def give_up(self, *, is_late: bool) -> None:
        """Answer that it was too slow, or one too many, and close it."""
        self._awaited = None
        self._waiting.end(self)
        has_begun = self.conn.their_state is h11.SEND_BODY or self._has_begun_a_head()
        if has_begun:
            self._refuse(_LATE if is_late else _TOO_MANY)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer by HTTP/1.1, as may be done (RFC 9110, 7.8), and tell no one.

        Java's own client asks for h2c each time; uvicorn would advise to install WebSockets.
        """

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's word for all that
        """Answer what is no request of HTTP/1.1, and close it."""
        self._refuse(NOT_HTTP)
        self.transport.close()

    def shutdown(self) -> None:
        """Stop: the rest of a request has as long to come as calls have for their answers."""
        super().shutdown()
        if self._awaited is _Awaited.BODY:
            asyncio.get_running_loop().call_later(GRACE, self._give_up_half)

    def _give_up_half(self) -> None:
        if self._awaited is _Awaited.BODY:
            self.give_up(is_late=True)

    def _refuse(self, why: Refusal) -> None:
        """Answer in place of the application, unless it has begun to."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        status = why.http or 503
        body = json_of(why.status).encode() + b"\n"
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        data = h11.Data(data=body)
        if self.conn.our_state is h11.SEND_RESPONSE:  # to a request that the application has
            self.cycle.disconnected = True
            note_answer(cast("dict[str, Any]", self.scope), status)
            if self.scope["method"] == "HEAD":
                data = h11.Data(data=b"")
        for event in (
            h11.Response(status_code=status, headers=headers),
            data,
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")

    def pause_writing(self) -> None:
        """Give up a caller who reads nothing of an answer: its call has a place among the calls."""
        super().pause_writing()
        self._expect_progress()

    def _expect_progress(self) -> None:
        if self._reading is None and not self.transport.is_closing():
            self._look_again(taken(self.transport))

    def _look_again(self, before: int) -> None:
        def look() -> None:
            self._reading = None
            now = taken(self.transport)
            if is_all_taken(self.transport):
                return
            if now > before:
                self._look_again(now)
            else:
                self.transport.abort()

        self._reading = asyncio.get_running_loop().call_later(self._waiting.patience, look)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
