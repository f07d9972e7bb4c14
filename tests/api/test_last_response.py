"""A stream whose handler returns its last response: it comes with the end, an error after others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from zart.testing.server import ServerUnderTest
from zart_server.api.audit_trail import AuditTrail
from zart_server.api.interceptor import CallInterceptor
from zart_server.api.limits import Limits
from zart_server.api.responses import Responses
from zart_server.api.served_call import Door
from zart_server.domain.errors import ShuttingDown

_METHOD = "/a.Service/Method"
_CALLS = 1  # calls at a time


async def _answers(request: bytes, responses: Responses) -> int:
    """Write each byte of a request but the last, which is returned, or raises if it is ``!``."""
    *others, last = request
    for each in others:
        await responses.write(each)
    if last == ord("!"):
        raise ShuttingDown
    return last


def _serialized(response: int) -> bytes:
    return bytes([response])


class _Handlers(grpc.GenericRpcHandler):
    def service(
        self,
        handler_call_details: grpc.HandlerCallDetails,  # noqa: ARG002 - the base class's
    ) -> grpc.RpcMethodHandler[bytes, int]:
        return grpc.unary_stream_rpc_method_handler(
            _answers,
            response_serializer=_serialized,
        )


@pytest.fixture
async def channel(zart_server: ServerUnderTest) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server with the interceptor and this one handler."""
    trail = AuditTrail(zart_server.running.runtime.db)
    door = Door(Limits(_CALLS, _CALLS), trail, None)
    server = grpc.aio.server(interceptors=[CallInterceptor(door)])
    server.add_generic_rpc_handlers([_Handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def _called(channel: grpc.aio.Channel, request: bytes) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_METHOD)
    return method(request)


@pytest.mark.parametrize("wanted", [b"a", b"abc"])
async def test_all_responses_are_read_in_order_and_the_call_ends(
    channel: grpc.aio.Channel, wanted: bytes
) -> None:
    for _ in range(3):  # each has left before the next one comes
        call = _called(channel, wanted)
        assert b"".join([response async for response in call]) == wanted
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("request_", [b"!", b"ab!"])
async def test_an_error_ends_the_call_after_what_was_written(
    channel: grpc.aio.Channel, request_: bytes
) -> None:
    call = _called(channel, request_)
    for number in range(len(request_) - 1):
        assert await call.read() == request_[number : number + 1]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
