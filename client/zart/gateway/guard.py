"""Makes sure that the server asks who calls, before a gateway lets others than this machine in.

A gateway passes on what its callers show and knows nobody itself: in front of a server that asks
nobody it would let in everybody.
"""

from __future__ import annotations

import grpc
import grpc.aio

from zart.gateway.headers import NOBODY
from zart.gateway.settings import GatewayError
from zart.v1 import execution_service_pb2
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub

_PATIENCE = 10.0  # seconds


async def check_guarded(channel: grpc.aio.Channel) -> None:
    """Call as for a caller with nothing, which the server must refuse. Raises GatewayError."""
    request = execution_service_pb2.ListExecutionsRequest(page_size=1)
    try:
        await ExecutionServiceStub(channel).ListExecutions(
            request, metadata=NOBODY, timeout=_PATIENCE, wait_for_ready=True
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return
        raise GatewayError(
            "the server cannot be reached, so whether it asks who calls is not known"
        ) from None
    raise GatewayError(
        "refusing to listen beyond loopback for a server that lets in whoever comes from here:"
        " set ZART_AUTH_TOKENS (or another of ZART_AUTH_*) there, or ZART_INSECURE=1 to do so all"
        " the same"
    )
