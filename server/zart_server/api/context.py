"""What gRPC hands every handler besides the request."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc.aio

# A string: at runtime the class takes no type arguments.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
