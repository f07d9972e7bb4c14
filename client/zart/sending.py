"""Sends a call that has one answer, and sends it again while nobody serves, of both clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from zart.calls.call import Call
from zart.closed_clients import telling_if_closed
from zart.errors import ClientClosed
from zart.outages import Repeats, Standing
from zart.trace_context import traced


async def send(
    channel: grpc.aio.Channel, call: Call[Any], seconds: float, standing: Standing
) -> Message:
    """Send a call and return its answer, in so many seconds. Raises what it failed with last."""
    rpc = _method(channel, call)
    deadline = time.monotonic() + seconds
    repeats: Repeats | None = None
    while True:
        try:
            with telling_if_closed(call.request):
                answer: Message = await rpc(call.request, timeout=seconds, **traced())
        except grpc.RpcError as error:
            repeats = repeats or Repeats(standing, call, deadline)
            rest = repeats.rest_after(error)
        except ClientClosed as closed:
            if repeats is None:
                raise
            raise repeats.told_closed(closed) from closed.__cause__
        else:
            standing.was_answered = True
            return answer
        await asyncio.sleep(rest)
        seconds = repeats.left()


def send_sync(
    channel: grpc.Channel, call: Call[Any], seconds: float, standing: Standing
) -> Message:
    """Send a call and return its answer, as ``send``."""
    rpc = _method(channel, call)
    deadline = time.monotonic() + seconds
    repeats: Repeats | None = None
    while True:
        try:
            with telling_if_closed(call.request):
                answer: Message = rpc(call.request, timeout=seconds, **traced())
        except grpc.RpcError as error:
            repeats = repeats or Repeats(standing, call, deadline)
            rest = repeats.rest_after(error)
        except ClientClosed as closed:
            if repeats is None:
                raise
            raise repeats.told_closed(closed) from closed.__cause__
        else:
            standing.was_answered = True
            return answer
        time.sleep(rest)
        seconds = repeats.left()


def _method(channel: Any, call: Call[Any]) -> Callable[..., Any]:  # noqa: ANN401 - of either kind
    method: Callable[..., Any] = channel.unary_unary(
        call.path,
        request_serializer=type(call.request).SerializeToString,
        response_deserializer=call.response_type.FromString,
    )
    return method
