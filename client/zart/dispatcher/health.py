"""The health of a dispatcher, as gRPC's health service on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from zart.listening import why_not

SERVICE = "dispatcher"
"""The service whose health says whether work can be leased; that of "" is the process's."""

_THREADS = 2


class CannotListen(Exception):
    """The port is taken, or no address of this machine; the message says which."""


class Health:
    """What the health service answers. It is safe to set it from any thread."""

    def __init__(self) -> None:
        self.servicer = HealthServicer()
        self.servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        self.set(is_ready=False)

    def set(self, *, is_ready: bool) -> None:
        """Say whether work can be leased."""
        kinds = health_pb2.HealthCheckResponse
        self.servicer.set(SERVICE, kinds.SERVING if is_ready else kinds.NOT_SERVING)


@contextlib.contextmanager
def serving_health(listen: str) -> Iterator[Health]:
    """Answer on HOST:PORT until the context is left. Raises CannotListen.

    Threads of its own answer, so that a step that blocks the event loop is no reason to end the
    dispatcher: its leases are extended all the same. It says nothing but this, so it asks nobody
    who they are and speaks no TLS.
    """
    health = Health()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="zart-health") as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
        try:
            server.add_insecure_port(listen)
        except RuntimeError:
            raise CannotListen(
                f"cannot listen on {listen} for health: {why_not(listen)} Set ZART_HEALTH_LISTEN to"
                " another address"
            ) from None
        server.start()
        try:
            yield health
        finally:
            server.stop(grace=None).wait()
