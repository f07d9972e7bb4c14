"""Adds services to a server of grpc.aio without registering their methods one by one.

For each registered method the server has a future, and it waits anew for all of them whenever one
call has come: with sixty methods that takes more of its CPU than anything else a short call needs.
A generic handler finds the method by its name, and the server waits for one future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio


class UnregisteredMethods:
    """What generated code adds a service to, in place of the server."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add a handler that finds the methods of its service by name."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Add nothing: the generic handler has them all."""
