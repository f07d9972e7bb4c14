"""gRPC's health service, whole: the library's leaves out List."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from zart_server.api.context import Context


class Health(HealthServicer):  # type: ignore[misc]  # it has no types
    """Tells of each service whether it can serve."""

    async def List(  # noqa: N802 - the proto's name
        self,
        request: Any,  # noqa: ANN401 - a proto without types
        context: Context,
    ) -> Any:  # noqa: ANN401 - likewise
        """List all services."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._server_status.items()
            }
        )
