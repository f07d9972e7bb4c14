"""What anybody may ask a gateway, as load balancers do: whether its server can serve, the OpenAPI.

Nobody is asked who it is here, so each has a small room of its own: whoever fills one of them is
neither in the way of calls nor of the other.
"""

from __future__ import annotations

import asyncio
import importlib.resources
from collections.abc import Collection

import grpc
import grpc.aio
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from zart.gateway.headers import NOBODY, metadata_of
from zart.gateway.shares import Shares
from zart.gateway.statuses import Refusal, refusal, response_of, retry_in, status_of_call
from zart.networks import network_of

_LOOK_TIMEOUT = 3.0  # seconds
_SHARED_FOR = 1.0  # seconds
_ASKED = 9  # times, one server after the other as a rule: other calls take their turns, too
_PATIENCE = 0.5  # seconds that one may take before the next is asked as well
_PROBES = 256  # that wait at once
_READERS = 32  # of the document at once
_PART = 64 * 1024  # bytes of the document: no more is written before some are taken
_SERVING = health_pb2.HealthCheckResponse.SERVING


class Ready:
    """Tells whether the server can serve these services.

    One look at a time, whose answer is everybody's for a second.
    """

    def __init__(self, channel: grpc.aio.Channel, services: Collection[str]) -> None:
        self._health = health_pb2_grpc.HealthStub(channel)
        self._services = sorted(services)
        self._room = Shares(_PROBES)
        self._look: asyncio.Task[Response] | None = None
        self._until = 0.0  # when the answer of the last look is too old

    async def answer(self, request: Request) -> Response:
        """Answer one probe."""
        try:
            metadata_of(request.headers)  # as of a call: a probe should tell that they cannot pass
            address = _address_of(request)
            self._room.take(address)
        except Refusal as error:
            return response_of(error.status)
        try:
            return await asyncio.shield(self._latest())
        finally:
            self._room.give_back(address)

    def _latest(self) -> asyncio.Task[Response]:
        now = asyncio.get_running_loop().time()
        if self._look is None or (self._look.done() and now >= self._until):
            self._look = asyncio.create_task(self._ask(), name="readiness")
        return self._look

    async def _ask(self) -> Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + _LOOK_TIMEOUT
        try:
            asked = [self._why_not_served(service, until) for service in self._services]
            failing = [why for why in await asyncio.gather(*asked) if why is not None]
        finally:
            self._until = loop.time() + _SHARED_FOR
        return response_of(failing[0]) if failing else JSONResponse({"status": "SERVING"})

    async def _why_not_served(self, service: str, until: float) -> status_pb2.Status | None:
        """Return why no server serves a service, as far as they are asked; None: one does.

        The channel deals calls out among the servers. One that is about to stop says NOT_SERVING
        a while before, and others have its calls then; one that is stuck says nothing. So the next
        is asked, and who is slow may answer meanwhile: there may be no other.
        """
        left = _ASKED
        asking: set[asyncio.Task[status_pb2.Status | None]] = set()
        found: list[status_pb2.Status] = []
        try:
            while left or asking:
                if left:
                    left -= 1
                    asking.add(asyncio.create_task(self._check(service, until)))
                ended, asking = await asyncio.wait(
                    asking, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    why = task.result()
                    if why is None:
                        return None
                    found.append(why)
        except grpc.aio.AioRpcError as error:
            return status_of_call(error)
        finally:
            for task in asking:
                task.cancel()
        return found[0]

    async def _check(self, service: str, until: float) -> status_pb2.Status | None:
        """Ask one server. Raises AioRpcError where none is reached, nor is by asking again."""
        request = health_pb2.HealthCheckRequest(service=service)
        left = max(0.001, until - asyncio.get_running_loop().time())
        try:
            answer = await self._health.Check(request, metadata=NOBODY, timeout=left)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise
            return status_of_call(error)
        if answer.status == _SERVING:
            return None
        message = f"{service} is not serving"
        return refusal(code_pb2.UNAVAILABLE, message, retry_in(1)).status


class Document:
    """The OpenAPI document, read once and written in parts."""

    def __init__(self) -> None:
        found = importlib.resources.files("zart.gateway") / "openapi.json"
        self._text = found.read_bytes()
        self._room = Shares(_READERS)

    async def answer(self, request: Request) -> Response:
        """Answer one request; its place is held until most of the document has been taken."""
        return _InParts(self._text, self._room, _address_of(request))


class _InParts(Response):
    media_type = "application/json"

    def __init__(self, text: bytes, room: Shares, address: str) -> None:
        super().__init__(text)
        self._room = room
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._room.take(self._address)
        except Refusal as error:
            await response_of(error.status)(scope, receive, send)
            return
        try:
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            for begin in range(0, len(self.body), _PART):
                part = self.body[begin : begin + _PART]
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._room.give_back(self._address)


def _address_of(request: Request) -> str:
    return network_of(request.client.host if request.client else "")
