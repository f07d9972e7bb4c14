"""What an older server would ignore is refused where ignoring it could be the deed itself."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from rig import Rig

from zart import errors
from zart.gateway.bindings import all_services
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2, execution_service_pb2

FROM_A_NEWER_CALLER = b"\xf8\xff\xff\xff\x0f\x01"  # field 536870911, true
NUMBER = "536870911"
ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
EXECUTION = execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"]
WHOLE = {"AdminService", "BatchService", "BreakerService", "RetentionService"}
REFUSING = [
    *(method for service in all_services() if service.name in WHOLE for method in service.methods),
    EXECUTION.methods_by_name["CancelExecution"],
]
FILTERING = [
    method
    for service in all_services()
    if service.name not in WHOLE
    for method in service.methods
    if "filter" in method.input_type.fields_by_name
]


def nested(descriptor: Descriptor) -> Iterator[tuple[str, Message]]:
    """Yield each message within a request, at any depth: its path, and a request of it.

    Google's, too (times, masks, JSON values), but not what is within these.
    """
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None:
            continue
        within = nested(inner) if inner.full_name.startswith("zart.") else ()
        name = f"{field.name}[0]" if field.is_repeated else field.name
        unknown = message_factory.GetMessageClass(inner)()
        unknown.MergeFromString(FROM_A_NEWER_CALLER)
        for path, part in [(NUMBER, unknown), *within]:
            request = message_factory.GetMessageClass(descriptor)()
            place = getattr(request, field.name)
            (place.add() if field.is_repeated else place).CopyFrom(part)
            yield f"{name}.{path}", request


async def call(server: ServerUnderTest, method: MethodDescriptor, request: bytes) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(server.address) as channel:
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        send = channel.unary_unary(path, request_serializer=bytes)
        await send(request)


async def refusal(server: ServerUnderTest, method: MethodDescriptor, request: bytes) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(server, method, request)
    return errors.from_call(refused.value)


@pytest.mark.parametrize("method", REFUSING, ids=lambda method: str(method.name))
async def test_it_is_named_and_nothing_else_is_looked_at(
    zart_server: ServerUnderTest, method: MethodDescriptor
) -> None:
    cases = [(NUMBER, FROM_A_NEWER_CALLER)]
    cases += [(path, part.SerializeToString()) for path, part in nested(method.input_type)]
    for path, request in cases:
        told = await refusal(zart_server, method, request)

        assert isinstance(told, errors.UnknownField)
        assert list(told.fields) == [path]
        assert "older than its caller" in told.fields[path]


@pytest.mark.parametrize(("levels", "after"), [(1, 0), (11, 0), (1, 20_000)])
async def test_it_is_seen_wherever_it_is_in_a_json_value(
    zart_server: ServerUnderTest, levels: int, after: int
) -> None:
    """It is named as if it were the value's: what leads there is the caller's. Or that has one."""
    restart = admin_service_pb2.RestartRequest(execution_id="x")
    part = restart.payload
    for _ in range(levels):
        for _ in range(after):
            part.list_value.values.add().bool_value = True
        part = part.list_value.values.add().struct_value.fields["secret"]
    part.MergeFromString(FROM_A_NEWER_CALLER)

    told = await refusal(zart_server, ADMIN.methods_by_name["Restart"], restart.SerializeToString())

    assert isinstance(told, errors.UnknownField)
    assert list(told.fields) == ["payload" if after else f"payload.{NUMBER}"]


async def test_it_is_named_in_filters_of_what_only_reads(zart_server: ServerUnderTest) -> None:
    assert {method.name for method in FILTERING} >= {
        "ListExecutions", "CountExecutions", "ListErrorGroups",
    }  # fmt: skip
    for method in FILTERING:
        for path, request in nested(method.input_type):
            if path.startswith("filter."):
                told = await refusal(zart_server, method, request.SerializeToString())
                assert isinstance(told, errors.UnknownField)
                assert list(told.fields) == [path]


async def test_a_dry_run_that_is_not_known_is_not_the_deed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x")
    restart = admin_service_pb2.RestartRequest(execution_id="x").SerializeToString()

    told = await refusal(
        zart_server, ADMIN.methods_by_name["Restart"], restart + FROM_A_NEWER_CALLER
    )

    assert isinstance(told, errors.UnknownField)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.runs") == 1


async def test_other_calls_go_on_ignoring_it(rig: Rig, zart_server: ServerUnderTest) -> None:
    """What they leave out of a newer caller's wishes is told by what they answer."""
    await rig.start("x")
    get = execution_service_pb2.GetExecutionRequest(execution_id="x").SerializeToString()

    await call(zart_server, EXECUTION.methods_by_name["GetExecution"], get + FROM_A_NEWER_CALLER)


async def test_json_values_are_what_they_are(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x")
    restart = admin_service_pb2.RestartRequest(execution_id="x")
    restart.payload.struct_value.fields["a"].list_value.values.add().number_value = 1

    await call(zart_server, ADMIN.methods_by_name["Restart"], restart.SerializeToString())
