"""Sends calls that were encoded before, and reads nothing of the answers: the least client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
from google.protobuf.message import Message

_LIMIT = 120.0


@dataclass(frozen=True)
class Timed:
    """How long each call took, in milliseconds, and all of them together, in seconds."""

    milliseconds: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        """The rate."""
        return len(self.milliseconds) / self.seconds


@dataclass
class Caller:
    """A connection to a server."""

    channel: grpc.aio.Channel

    async def send(self, service: str, method: str, request: bytes) -> bytes:
        """Send one call."""
        rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(
            f"/zart.v1.{service}/{method}"
        )
        return await rpc(request, timeout=_LIMIT)

    async def timed(
        self, service: str, method: str, requests: Iterable[Message], callers: int = 1
    ) -> Timed:
        """Send calls, from so many callers at a time, each when its last one is answered."""
        encoded = [request.SerializeToString() for request in requests]
        left = iter(encoded)
        found: list[float] = []

        async def caller() -> None:
            for request in left:
                begun = time.perf_counter()
                await self.send(service, method, request)
                found.append((time.perf_counter() - begun) * 1000)

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return Timed(found, time.perf_counter() - begun)


@contextlib.asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    """Connect."""
    options: Sequence[tuple[str, int]] = [
        ("grpc.max_receive_message_length", 16 * 2**20),
        ("grpc.max_send_message_length", 16 * 2**20),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await channel.channel_ready()
        yield Caller(channel)
