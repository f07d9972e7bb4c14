"""A server that answers every call with whatever a test makes of the answer's type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import breaker_service_pb2 as breaker
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import retention_service_pb2 as retention

METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in (admin, audit, batch, breaker, execution, retention)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_START = METHODS["/zart.v1.ExecutionService/StartExecution"]
Answer = Callable[[MethodDescriptor, grpc.ServicerContext], Message]


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = METHODS[details.method]

        def unary(_request: Any, context: grpc.ServicerContext) -> Message:
            return self._answer(method, context)

        def stream(_request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
            if method.name == "RunExecution":
                started: Any = self._answer(_START, context)
                yield execution.RunExecutionResponse(started=started)
            yield self._answer(method, context)

        serialize = GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=serialize)
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=serialize)


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Run such a server; gives its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([_Handlers(answer)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def filled(kind: Descriptor, text: str, json_text: str, *, status: int | None = None) -> Message:
    """Make a message with every field set: all text the same, every enum the same number."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if field.name == "next_page_token":
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[text] = json_text
        elif field.message_type is not None and field.message_type is not kind:
            part = _part(field.message_type, text, json_text, status)
            target = getattr(message, field.name)
            target.append(part) if field.is_repeated else target.CopyFrom(part)
        elif field.message_type is None:
            value = _value(field, text, json_text, status)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def _part(kind: Descriptor, text: str, json_text: str, status: int | None) -> Message:
    if kind is Timestamp.DESCRIPTOR:
        return Timestamp(seconds=1_700_000_000)
    if kind.file.package.startswith("google"):
        return GetMessageClass(kind)()
    return filled(kind, text, json_text, status=status)


def _value(field: FieldDescriptor, text: str, json_text: str, status: int | None) -> Any:
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        return status if status in numbers else numbers[1]
    if field.type == FieldDescriptor.TYPE_STRING:
        return json_text if field.name.endswith("_json") else text
    return {FieldDescriptor.CPPTYPE_BOOL: True}.get(field.cpp_type, 2)
