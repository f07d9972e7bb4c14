"""One path: finds the binding of the method, reads the request, answers, and tells in the log."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.rpc import code_pb2
from opentelemetry.trace import Tracer
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zart.gateway.bindings import Binding
from zart.gateway.calls import Calls
from zart.gateway.headers import check_origin, metadata_of
from zart.gateway.presence import Presence
from zart.gateway.reading import read
from zart.gateway.request_ids import request_id_header
from zart.gateway.request_trace import begin_span, end_span
from zart.gateway.shares import Room, Taken
from zart.gateway.statuses import Refusal, refusal, response_of
from zart.gateway.telling import UNKNOWN, log_call
from zart.networks import network_of

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

_log = logging.getLogger("zart.gateway")


class Endpoint:
    """Serves the bindings of one path."""

    def __init__(
        self,
        bindings: Sequence[Binding],
        calls: Calls,
        room: Room,
        requests: OfTheGateway | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._bindings = {binding.http_method: binding for binding in bindings}
        self._calls = calls
        self._room = room
        self._requests = requests
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its place among the calls is held until its last line is written."""
        if self._requests is None:
            await self._serve(scope, receive, send)
            return
        binding = self._bindings.get(scope["method"])
        method = UNKNOWN if binding is None else binding.rpc_path
        waits = binding is not None and binding.rpc.server_streaming
        begun = time.monotonic()
        code = "aborted"
        try:
            with self._requests.under_way(waits=waits):
                code = await self._serve(scope, receive, send)
        finally:
            self._requests.served(method, code, time.monotonic() - begun, waits=waits)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Serve one request, and return its HTTP status as the log has it."""
        presence = Presence(scope, receive, send)
        request = Request(scope, presence.receive)
        taken = Taken(self._room, network_of(request.client.host if request.client else ""))
        begun = time.monotonic()
        code = "-"
        binding = self._bindings.get(request.method)
        span = None
        if self._tracer is not None and binding is not None:
            span = begin_span(self._tracer, binding, request)
        try:
            response = await self._respond(request, taken)
            if presence.is_read:  # else asking would have the caller go on with its request
                await request.is_disconnected()
            code = presence.code_of(response.status_code)
            await response(scope, presence.receive, presence.send)
            code = presence.code_of(response.status_code)
        except ClientDisconnect:
            code = presence.code_of(None)
        finally:
            taken.end()
            log_call(scope, request.headers, code, begun)
            if span is not None:
                end_span(span, code)
        return code

    async def _respond(self, request: Request, taken: Taken) -> Response:
        told: dict[str, str] = {}  # headers, also of an answer that is an error
        try:
            response = await self._answer(request, taken, told)
        except Refusal as error:
            return response_of(error.status, error.http, {**error.headers, **told})
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - its place to the log, to the caller an id
            error_id = uuid.uuid4().hex[:12]
            _log.error("defect", exc_info=error, extra={"error_id": error_id})
            message = f"internal error {error_id}: see the gateway's log"
            metadata = {"error_id": error_id}
            defect = refusal(code_pb2.INTERNAL, message, reason="INTERNAL", metadata=metadata)
            return response_of(defect.status, headers=told)
        response.headers.update(told)
        return response

    async def _answer(self, request: Request, taken: Taken, told: dict[str, str]) -> Response:
        check_origin(request.headers)
        binding = self._bindings.get(request.method)
        if binding is None:
            raise refusal(
                code_pb2.UNIMPLEMENTED,
                f"{request.method} is not served here",
                reason="UNKNOWN_METHOD",
                http=405,
                headers={"Allow": ", ".join(self._bindings)},
            )
        asked = await read(binding, request, taken)
        taken.begin_call()  # only now: who sends half a request takes nobody's place
        taken.drop_bytes()
        # Told also with an error, after which only a repeat of it tells whether it happened.
        told.update(request_id_header(asked))
        return await self._calls.answer(binding, asked, metadata_of(request.headers))
