"""A server that answers every call as it is told, behind a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from gateway.sending import Answer, Http

from zart.v1 import admin_service_pb2 as pb

RESUME = "/admin/v1/pause/pr-1"


@dataclass
class Scripted:
    """A server that answers every call as it is told, and keeps what it was sent."""

    answer: Callable[[Any], Any] = lambda _: pb.ResumeResponse()
    metadata: dict[str, list[str]] = field(default_factory=dict)
    requests: list[pb.ResumeRequest] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    address: str = ""

    async def handle(self, request: bytes, context: Any) -> bytes:
        """Answer a call."""
        self.metadata = {}
        for key, value in context.invocation_metadata():
            self.metadata.setdefault(key, []).append(value)
        self.requests.append(pb.ResumeRequest.FromString(request))
        self.deadlines.append(context.time_remaining())
        answer = self.answer(context)
        return (await answer if asyncio.iscoroutine(answer) else answer).SerializeToString()  # type: ignore[no-any-return]

    def service(self, _details: grpc.HandlerCallDetails) -> Any:
        """Serve every method."""
        return grpc.unary_unary_rpc_method_handler(self.handle)


async def post(http_: Http, path: str, message: Any = None, **headers: str) -> Answer:
    """Post while the loop that the server runs on goes on."""
    return await asyncio.to_thread(http_.post, path, message, **headers)
