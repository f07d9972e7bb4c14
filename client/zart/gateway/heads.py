"""How long the head of a request may be, whether it comes in pieces or in one.

h11 has a bound only for heads that are not whole yet: of those that are, as many bytes as one read
brings would be taken.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from zart.gateway.statuses import invalid, response_of
from zart.gateway.telling import tell_unserved

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

HEAD_BYTES = 16 * 1024  # as much as the server takes in metadata
NOT_HTTP = invalid(
    [("request", "is not HTTP/1.1: is the path percent-encoded? A head has at most 16 KiB")],
    http=400,
)


class OnlyShortHeads:
    """Refuses requests with a longer head, and closes the connection. ``requests`` counts them."""

    def __init__(self, app: ASGIApp, requests: OfTheGateway | None = None) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or _size_of(scope) <= HEAD_BYTES:
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        response = response_of(NOT_HTTP.status, NOT_HTTP.http, {"Connection": "close"})
        await response(scope, receive, send)
        tell_unserved(self._requests, scope, response.status_code, begun)


def _size_of(scope: Scope) -> int:
    """Return the bytes of a head, but for its signs and spaces."""
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return target + sum(len(name) + len(value) for name, value in scope["headers"])
