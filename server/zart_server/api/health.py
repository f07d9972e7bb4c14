"""gRPC's health service, whole.

The library's leaves out List, and its Watch writes to the call where what wraps handlers wants to
be yielded to, holding a lock meanwhile that whoever changes a status needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from zart_server.api.access import AccessControl
from zart_server.api.context import Context
from zart_server.domain.errors import ShuttingDown

_Status = health_pb2.HealthCheckResponse
_WATCH = "/grpc.health.v1.Health/Watch"
_JUDGED_EACH = 14.0  # seconds


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """The health service: whether each service can serve.

    With ``access`` who watches is judged anew time and again: a watch of health has no other end.
    """

    def __init__(self, access: AccessControl | None = None) -> None:
        self._access = access
        self._statuses: dict[str, int] = {"": _Status.SERVING}
        self._changed = asyncio.Event()  # another one after each change
        self._is_leaving = False
        self.draining = asyncio.Event()  # set once streams that callers end are to end

    def set(self, service: str, status: int) -> None:
        """Set the status of a service, unless the server is leaving."""
        if not self._is_leaving and self._statuses.get(service) != status:
            self._statuses[service] = status
            self._wake()

    def leave(self) -> None:
        """Set the status of all services to NOT_SERVING, for good."""
        self._is_leaving = True
        self._statuses = dict.fromkeys(self._statuses, _Status.NOT_SERVING)
        self._wake()

    def drain(self) -> None:
        """End the watches, once they have told the last status: the server waits for its calls.

        Also other streams that end where their callers end them, which wait for ``draining``.
        """
        self.draining.set()
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> Any:  # noqa: ANN401 - likewise
        """Return the status of a service. Aborts with NOT_FOUND if it is unknown."""
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Status(status=self._statuses[request.service])

    async def Watch(
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> AsyncIterator[Any]:
        """Yield the status of a service, and again whenever it has changed.

        Raises ShuttingDown when this server stops, Unauthenticated once its caller's token is gone.
        """
        told, access = None, self._access
        # Kept: who has left is not to be asked any more.
        shown = None if access is None else access.shown_by(context)
        peer, patience = context.peer(), None if access is None else _JUDGED_EACH
        while True:
            changed = self._changed  # taken first: a change after that wakes
            status = self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield _Status(status=status)
            elif self.draining.is_set():
                raise ShuttingDown
            else:
                try:
                    async with asyncio.timeout(patience):
                        await changed.wait()
                except TimeoutError:
                    if access is not None and shown is not None:
                        await access.check_again(_WATCH, shown, peer)

    async def List(
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> Any:  # noqa: ANN401 - likewise
        """List all services."""
        return health_pb2.HealthListResponse(
            statuses={name: _Status(status=status) for name, status in self._statuses.items()}
        )
