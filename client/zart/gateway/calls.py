"""The RPCs behind the paths: one call and its answer, or a stream of lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2
from starlette.responses import Response, StreamingResponse

from zart.gateway import aside
from zart.gateway.bindings import Binding
from zart.gateway.headers import Metadata
from zart.gateway.statuses import Refusal, json_of, refusal, retry_in, status_of_call
from zart.next_messages import Messages

GRACE = 4  # seconds that calls have for their answers once the gateway stops
# Have nginx, and what heeds the same header, pass each line on at once, and nobody keep them.
_AS_IT_COMES = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
T = TypeVar("T")


class Calls:
    """Makes the calls of one channel. ``timeout`` in seconds is for all but what streams."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float) -> None:
        self._channel = channel
        self._timeout = timeout
        self._draining: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def drain(self) -> None:
        """End the streams: their last lines say that the gateway stops. Calls have GRACE left."""
        if not self._draining.done():
            self._draining.set_result(asyncio.get_running_loop().time() + GRACE)

    async def answer(self, binding: Binding, request: Message, metadata: Metadata) -> Response:
        """Call an RPC. Raises Refusal with the server's status."""
        try:
            if binding.rpc.server_streaming:
                return await self._stream(binding, request, metadata)
            call = self._method(binding, self._channel.unary_unary)
            calling = call(request, metadata=metadata, timeout=self._timeout)
            response: Message = await self._before_the_end(calling)
        except grpc.aio.AioRpcError as error:
            raise Refusal(status_of_call(error)) from None
        # A large one may have to wait for others: what was done by then is to be told, too.
        writing = aside.ANSWERS.done(response.ByteSize(), json_of, response)
        text = await self._before_the_end(writing)
        return Response(text + "\n", media_type="application/json")

    async def _stream(self, binding: Binding, request: Message, metadata: Metadata) -> Response:
        """Answer once the first message is there, so that an error can still be a status."""
        call = self._method(binding, self._channel.unary_stream)(request, metadata=metadata)
        messages = Messages(call)
        try:
            async with asyncio.timeout(self._timeout):
                first = await self._before_the_end(anext(messages, None))
        except Refusal:
            call.cancel()
            raise
        except TimeoutError:
            call.cancel()
            message = "the server did not begin to answer in time"
            raise refusal(code_pb2.DEADLINE_EXCEEDED, message) from None
        lines = self._lines(call, messages, first)
        return StreamingResponse(lines, headers=_AS_IT_COMES, media_type="application/x-ndjson")

    async def _lines(
        self,
        call: Any,  # noqa: ANN401 - grpc's
        messages: AsyncIterator[Message],
        message: Message | None,
    ) -> AsyncIterator[str]:
        """Write each message as a line; an error, which has no status left, as the last one."""
        try:
            while message is not None:
                yield await aside.ANSWERS.done(message.ByteSize(), json_of, message) + "\n"
                message = await self._next(messages)
        except Refusal as error:
            yield _error_line(error.status)
        except grpc.aio.AioRpcError as error:
            yield _error_line(status_of_call(error))
        finally:
            call.cancel()  # also where the caller went away

    async def _next(self, messages: AsyncIterator[Message]) -> Message | None:
        """Wait for the next message; None: there is none. Raises Refusal once the gateway stops."""
        reading = asyncio.ensure_future(anext(messages, None))
        try:
            await asyncio.wait((self._draining, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise Refusal(_STOPPING)
            return reading.result()
        finally:
            reading.cancel()
            del reading  # its error knows this frame: together they would keep all of it for long

    async def _before_the_end(self, answer: Awaitable[T]) -> T:
        """Wait for an answer; of a gateway that stops only until there is just time to tell so.

        Raises Refusal then: uvicorn would break it off soon, and tell nothing of its request_id.
        """
        waiting = asyncio.ensure_future(answer)
        try:
            await asyncio.wait((self._draining, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                left = self._draining.result() - asyncio.get_running_loop().time()
                await asyncio.wait((waiting,), timeout=max(0.0, left))
            if not waiting.done():
                raise Refusal(_CUT)
            return waiting.result()
        finally:
            waiting.cancel()
            del waiting  # as above

    def _method(self, binding: Binding, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - grpc's
        return kind(
            binding.rpc_path,
            request_serializer=GetMessageClass(binding.request).SerializeToString,
            response_deserializer=GetMessageClass(binding.rpc.output_type).FromString,
        )


_STOPPING = refusal(
    code_pb2.UNAVAILABLE,
    "this gateway is stopping: watch again",
    retry_in(1),
    reason="SHUTTING_DOWN",
).status
_CUT = refusal(
    code_pb2.UNAVAILABLE,
    "this gateway is stopping; what was asked may have happened",
    retry_in(1),
).status


def _error_line(status: status_pb2.Status) -> str:
    return f'{{"error": {json_of(status)}}}\n'
