"""What anybody may ask a gateway, as load balancers do: whether its server can serve, the OpenAPI.

Nobody is asked who it is here, so each has a small room of its own: whoever fills one of them is
neither in the way of calls nor of the other.
"""

from __future__ import annotations

import asyncio
import importlib.resources
from collections.abc import Collection
from random import random

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
_ASKED = 60  # times in one look, one server after the other: other calls take their turns, too
_PATIENCE = 0.05  # seconds that they may take before the next is asked as well
_LEAST = 0.1  # seconds that must be left to ask in
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
        try:
            why = await _Look(self._health, self._services).why_not_served()
        finally:
            self._until = asyncio.get_running_loop().time() + _SHARED_FOR
        return JSONResponse({"status": "SERVING"}) if why is None else response_of(why)


class _Look:
    """Looks for one server that serves, and whether each service is served.

    The channel deals calls out among the servers. One that is about to stop says NOT_SERVING a
    while before, and others have its calls then; one that is stuck says nothing. So others are
    asked in turn, and who is slow may answer meanwhile: there may be no other. Whenever it is the
    turn of one that serves, a service more is known to be served.
    """

    def __init__(self, health: health_pb2_grpc.HealthStub, services: Collection[str]) -> None:
        self._health = health
        self._unserved = dict.fromkeys(services, 0)  # and how often each was asked for
        self._asking: dict[asyncio.Task[status_pb2.Status | None], str] = {}
        self._whys: dict[str, status_pb2.Status] = {}
        self._left = _ASKED
        self._until = asyncio.get_running_loop().time() + _LOOK_TIMEOUT
        self._is_reached, self._is_unreached = False, False

    async def why_not_served(self) -> status_pb2.Status | None:
        """Return why one service is served by none, as far as they are asked; None: all are."""
        for service in self._unserved:
            self._ask(service)
        try:
            while self._unserved and self._asking and (self._is_reached or not self._is_unreached):
                ended, _ = await asyncio.wait(
                    self._asking, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
                )
                refused = [service for task in ended if (service := self._refused_by(task))]
                self._ask_again(refused if ended else [min(self._unserved, key=self._turn)])
        finally:
            for task in self._asking:
                task.cancel()
        return next((why for service, why in self._whys.items() if service in self._unserved), None)

    def _ask(self, service: str) -> None:
        self._unserved[service] += 1
        self._asking[asyncio.create_task(self._check(service))] = service

    def _ask_again(self, services: list[str]) -> None:
        for service in services if self._seconds_left() > _LEAST else ():
            if self._left and service in self._unserved:
                self._left -= 1
                self._ask(service)

    def _turn(self, service: str) -> tuple[int, float]:
        """By chance, so that no service has its turns with those of one that is stuck."""
        return self._unserved[service], random()  # noqa: S311 - no secret

    def _refused_by(self, task: asyncio.Task[status_pb2.Status | None]) -> str:
        """Take an answer. Return which service it is to be asked again for; none: empty."""
        service, why = self._asking.pop(task), task.result()
        if why is None:
            self._unserved.pop(service, None)
            return ""
        self._whys.setdefault(service, why)
        return service

    async def _check(self, service: str) -> status_pb2.Status | None:
        """Ask one server. Where none is reached, none is by asking again."""
        request = health_pb2.HealthCheckRequest(service=service)
        left = max(0.001, self._seconds_left())
        try:
            answer = await self._health.Check(request, metadata=NOBODY, timeout=left)
        except grpc.aio.AioRpcError as error:
            self._is_unreached |= error.code() is grpc.StatusCode.UNAVAILABLE
            return status_of_call(error)
        self._is_reached = True
        if answer.status == _SERVING:
            return None
        message = f"{service} is not serving"
        return refusal(code_pb2.UNAVAILABLE, message, retry_in(1)).status

    def _seconds_left(self) -> float:
        return self._until - asyncio.get_running_loop().time()


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
