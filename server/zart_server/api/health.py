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

from zart_server.api.context import Context

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Tells of each service whether it can serve."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {"": _Status.SERVING}
        self._changed = asyncio.Event()  # another one after each change
        self._is_leaving = False

    def set(self, service: str, status: int) -> None:
        """Tell how a service is from now on, unless the server is leaving."""
        if not self._is_leaving and self._statuses.get(service) != status:
            self._statuses[service] = status
            self._wake()

    def leave(self) -> None:
        """Tell of all services, for good, that they do not serve."""
        self._is_leaving = True
        self._statuses = dict.fromkeys(self._statuses, _Status.NOT_SERVING)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802 - the proto's name
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> Any:  # noqa: ANN401 - likewise
        """Tell how a service is. Aborts with NOT_FOUND for one that is unknown."""
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Status(status=self._statuses[request.service])

    async def Watch(  # noqa: N802 - the proto's name
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> AsyncIterator[Any]:
        """Tell how a service is, and again when that has changed."""
        told = None
        while True:
            changed = self._changed  # taken first: a change after that wakes
            status = self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield _Status(status=status)
            else:
                await changed.wait()

    async def List(  # noqa: N802 - the proto's name
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> Any:  # noqa: ANN401 - likewise
        """List all services."""
        return health_pb2.HealthListResponse(
            statuses={name: _Status(status=status) for name, status in self._statuses.items()}
        )
