"""The ASGI application: a route for each path that the protos name, health, and the OpenAPI."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import grpc.aio
from google.rpc import code_pb2
from opentelemetry.trace import Tracer
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zart.gateway.bindings import Binding, all_services, bindings_of
from zart.gateway.calls import Calls
from zart.gateway.endpoint import Endpoint
from zart.gateway.heads import OnlyShortHeads
from zart.gateway.hosts import OnlyKnownHosts
from zart.gateway.open_pages import Document, Ready
from zart.gateway.settings import Settings
from zart.gateway.shares import Room
from zart.gateway.statuses import refusal, response_of
from zart.gateway.telling import tell_unserved

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

_BODY_BYTES = 256 * 1024 * 1024  # of bodies that wait for their end, together


def application(
    channel: grpc.aio.Channel,
    calls: Calls,
    settings: Settings,
    requests: OfTheGateway | None = None,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """Make the application that passes requests on to ``channel``.

    ``requests`` counts them; ``tracer`` makes a span of each.
    """
    paths: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings_of(all_services()):
        paths[binding.path].append(binding)
    room = Room(settings.max_calls, _BODY_BYTES)
    routes = [
        Route(path, Endpoint(bindings, calls, room, requests, tracer))
        for path, bindings in paths.items()
    ]
    services = {b.rpc.containing_service.full_name for found in paths.values() for b in found}
    routes += [
        Route("/healthz", _alive),
        Route("/readyz", Ready(channel, services).answer),
        Route("/openapi.json", Document().answer),
    ]
    no_route = functools.partial(_no_route, requests)
    app = Starlette(routes=routes, exception_handlers={HTTPException: no_route})
    app.router.redirect_slashes = False
    return OnlyShortHeads(OnlyKnownHosts(_RawPaths(app), settings, requests), requests)


class _RawPaths:
    """Routes by the path as it was sent, so that an id may have a slash, written as %2F."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self._app(scope, receive, send)


async def _alive(_request: Request) -> Response:
    return JSONResponse({"status": "SERVING"})


async def _no_route(requests: OfTheGateway | None, request: Request, error: Exception) -> Response:
    begun = time.monotonic()
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    is_missing = error.status_code == 404  # noqa: PLR2004 - the other is 405
    told = refusal(
        code_pb2.NOT_FOUND if is_missing else code_pb2.UNIMPLEMENTED,
        "nothing is served under this path: see /openapi.json"
        if is_missing
        else "this method is not served here",
        reason="UNKNOWN_METHOD",
    )
    response = response_of(told.status, error.status_code, error.headers)
    tell_unserved(requests, request.scope, error.status_code, begun)
    return response
