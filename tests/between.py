"""A gRPC proxy that stands between callers and a server, and answers in its place when told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from passing import Passing

_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.enable_retries", 0),
]


@dataclass(frozen=True)
class Refusal:
    """What a call is answered with; ``domain`` and ``reason`` are those of an ErrorInfo.

    ``late``: only once the server has answered, so that what was asked for is done. ``held``: only
    once this is set; a caller may lose its patience before.
    """

    code: grpc.StatusCode
    domain: str = ""
    reason: str = ""
    late: bool = False
    held: asyncio.Event | None = None

    @property
    def details(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata."""
        if not self.reason:
            return ()
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain))
        status = status_pb2.Status(code=self.code.value[0], message="no", details=[packed])
        return (("grpc-status-details-bin", status.SerializeToString()),)


class Between(grpc.GenericRpcHandler):
    """``async with Between(server.address) as proxy``: it listens on ``proxy.address``.

    ``refuse`` tells of each call, by its method's name and its request, what to answer it with;
    None lets it through. A request within a stream has the name of the call of its kind, and a
    refusal ends the stream. ``refused`` and ``passed`` count calls by method; those that passed
    have been answered. ``streamed`` and ``cut`` count those of them that came within a stream.

    ``hold`` is awaited with each answer of the server, by its method's name, before it is passed on.
    ``patience`` has the seconds that the caller of each method gave its last call.
    """

    def __init__(
        self,
        server: str,
        refuse: Callable[[str, bytes], Refusal | None] = lambda *_: None,
        hold: Callable[[str, bytes], Awaitable[None]] | None = None,
    ) -> None:
        self._server = server
        self.refuse = refuse
        self._hold = hold
        self.patience: dict[str, float | None] = {}
        self.refused: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.streamed: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()
        self.address = ""

    async def __aenter__(self) -> Between:
        self._channel = grpc.aio.insecure_channel(self._server, options=_OPTIONS)
        self._listener = grpc.aio.server(handlers=[self], options=_OPTIONS)
        port = self._listener.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._listener.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._listener.stop(None)
        await self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = details.method.rpartition("/")[2]
        metadata = [
            (key, value)
            for key, value in details.invocation_metadata or ()
            if not key.startswith(("grpc-", "user-agent"))
        ]
        if method == "DispatchTasks":
            return grpc.stream_stream_rpc_method_handler(self._stream(details.method, metadata))
        forward: Any = self._channel.unary_unary(details.method)

        async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self.patience[method] = context.time_remaining()
            refusal = self.refuse(method, request)
            if refusal is not None:
                self.refused[method] += 1
            try:
                if refusal is None or refusal.late:
                    answer: bytes = await forward(
                        request, timeout=context.time_remaining(), metadata=metadata
                    )
            except grpc.aio.AioRpcError as error:
                await _end_as(error, context)
            if refusal is not None:
                if refusal.held is not None:
                    await refusal.held.wait()
                await _end(refusal, context)
                return b""  # of whatever answers so, it is no server of ours
            if self._hold is not None:
                await self._hold(method, answer)
            self.passed[method] += 1
            return answer

        return grpc.unary_unary_rpc_method_handler(call)

    def _stream(self, method: str, metadata: list[tuple[str, Any]]) -> Any:
        async def stream(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            if (refusal := self.refuse("DispatchTasks", b"")) is not None:
                self.refused["DispatchTasks"] += 1
                await _end(refusal, context)
                return
            forward: Any = self._channel.stream_stream(method)
            passing = Passing(forward(metadata=metadata), self.refuse)
            try:
                async for kind, answer in passing.answers(requests):
                    yield answer
                    self.passed[kind] += 1
                    self.streamed[kind] += 1
            except grpc.aio.AioRpcError as error:
                await _end_as(error, context)
            if passing.refused is not None:
                kind, refusal = passing.refused
                self.refused[kind] += 1
                self.cut[kind] += 1
                await _end(refusal, context)

        return stream


async def _end(refusal: Refusal, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    if refusal.code is not grpc.StatusCode.OK:
        await context.abort(refusal.code, "said between", refusal.details)


async def _end_as(
    error: grpc.aio.AioRpcError, context: grpc.aio.ServicerContext[bytes, bytes]
) -> None:
    await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata()))


class Refusing:
    """Refuses so many calls of each of some methods, and lets the others through."""

    def __init__(self, refusal: Refusal, **calls: int) -> None:
        self._refusal = refusal
        self._left = Counter(calls)

    def __call__(self, method: str, _request: bytes) -> Refusal | None:
        """Judge a call."""
        if not self._left[method]:
            return None
        self._left[method] -= 1
        return self._refusal
