"""Calls that are cut on their way, as by a proxy whose server died: gRPC has many names for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http, gateway_to
from gateway.test_watch import line_of, watching
from google.rpc import code_pb2

from zart.v1 import execution_service_pb2 as pb

CUTS = pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Stream removed"),
        (grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8"),
    ],
)


@CUTS
async def test_a_change_may_have_happened(
    scripted: Scripted, http_scripted: Http, code: grpc.StatusCode, words: str
) -> None:
    scripted.answer = lambda context: context.abort(code, words)

    cut = await post(http_scripted, RESUME)

    assert (cut.status, cut.json["code"]) == (503, code_pb2.UNAVAILABLE)
    assert "may have happened" in cut.json["message"]
    assert words not in cut.text
    assert cut.headers["Retry-After"] == "1"
    assert cut.headers["Idempotency-Key"] == scripted.requests[-1].request_id


class Cutting(grpc.GenericRpcHandler):
    """Sends one message of each watch, and cuts it."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        self._code = code
        self._words = words

    def service(self, _details: grpc.HandlerCallDetails) -> Any:
        stream: Any = self._stream
        return grpc.unary_stream_rpc_method_handler(stream)

    async def _stream(self, _request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield pb.WatchExecutionResponse().SerializeToString()
        await context.abort(self._code, self._words)


@CUTS
async def test_a_watch_says_that_it_may_be_asked_for_again(
    code: grpc.StatusCode, words: str
) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Cutting(code, words)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with gateway_to(f"127.0.0.1:{port}") as http_, contextlib.ExitStack() as stack:
        watch = watching(http_, "/api/v1/executions/x/watch")
        response = await asyncio.to_thread(stack.enter_context, watch)
        assert await line_of(response) == {}
        last = await line_of(response)
        assert await line_of(response) is None
    await server.stop(None)

    assert last["error"]["code"] == code_pb2.UNAVAILABLE
    assert last["error"]["details"][0]["@type"].endswith("google.rpc.RetryInfo")
