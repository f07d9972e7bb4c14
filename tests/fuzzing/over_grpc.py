"""Sends requests over gRPC and tells what became of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# What no request may be answered with, whatever it holds.
DEFECTS = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})


class Answered(NamedTuple):
    """How a call ended: its code, message, and the fields that are named as wrong."""

    code: grpc.StatusCode
    message: str
    fields: tuple[str, ...]


async def answer(
    channel: grpc.aio.Channel, rpc: MethodDescriptor, request: Message | bytes, timeout: float
) -> Answered:
    """Make one call; of a stream the first message is an answer."""
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    make: Any = channel.unary_stream if rpc.server_streaming else channel.unary_unary
    call = make(
        path,
        request_serializer=lambda sent: (
            sent if isinstance(sent, bytes) else sent.SerializeToString()
        ),
        response_deserializer=GetMessageClass(rpc.output_type).FromString,
    )(request, timeout=timeout)
    try:
        if rpc.server_streaming:
            await call.read()
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return Answered(error.code(), error.details() or "", _fields(error))
    return Answered(grpc.StatusCode.OK, "", ())


def _fields(error: grpc.aio.AioRpcError) -> tuple[str, ...]:
    status = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        if detail.Unpack(bad):
            return tuple(violation.field for violation in bad.field_violations)
    return ()
