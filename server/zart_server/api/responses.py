"""The responses of a stream whose handler writes all but the last of them, and returns that.

gRPC sends what a handler returns in one piece with the end of its call. Streams that yield their
last response, and then end, cost each caller one more turn through gRPC and its threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zart_server.api.context import Context


class Responses:
    """Where the handler of one call writes to."""

    def __init__(
        self,
        context: Context,
        serialize: Callable[[Any], bytes] | None,
        responds: Callable[[], None],
    ) -> None:
        self._context = context
        self._serialize = serialize
        self._responds = responds

    async def write(self, response: object) -> None:
        """Send a response that is not the last; returns once the caller has room for more."""
        self._responds()
        raw = response if self._serialize is None else self._serialize(response)
        await self._context.write(raw)  # which serializes what is returned only
