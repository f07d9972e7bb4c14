"""What the client's errors tell of a mutation, and which error a lost deadline is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from between import Between, Refusal
from client.answering import answering
from client.scripted import STEP
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from rig import CHAIN, Rig
from waiting import for_ever

import zart
from zart.status_details import reason_of
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as pb

LOST = Refusal(grpc.StatusCode.UNAVAILABLE, late=True)


async def test_an_error_has_the_request_id_by_which_it_is_repeated(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    async with Between(zart_server.address, lambda *_: LOST) as proxy:
        async with zart.connect(proxy.address) as client:
            with pytest.raises(zart.errors.Unreachable) as lost:
                await client.restart("x")
            proxy.refuse = lambda *_: None
            again = await client.restart("x", request_id=lost.value.request_id)
            assert again.replayed
            assert again.new_run_number == 1
            with pytest.raises(zart.errors.ExecutionNotFound) as refused:
                await client.restart("y", request_id="mine")
            assert refused.value.request_id == "mine"
            with pytest.raises(zart.errors.ExecutionNotFound) as read:
                await client.get_execution("y")
            assert read.value.request_id == ""
        proxy.refuse = lambda *_: LOST

        def restart() -> str:
            with (
                zart.connect_sync(proxy.address) as client,
                pytest.raises(zart.errors.Unreachable) as lost,
            ):
                client.restart("x")
            return lost.value.request_id

        assert await asyncio.to_thread(restart)


async def test_starts_that_went_together_have_no_request_id_of_their_own(
    zart_server: ServerUnderTest, rig: Rig
) -> None:
    await rig.client.register_task("t", [zart.StepSpec("a")])
    async with (
        Between(zart_server.address, lambda *_: LOST) as proxy,
        zart.connect(proxy.address) as client,
    ):
        starts = [client.start("t", execution_id=f"x-{n}") for n in range(3)]
        told = await asyncio.gather(*starts, return_exceptions=True)
        assert [type(error) for error in told] == [zart.errors.Unreachable] * 3
        assert [error.request_id for error in told] == [""] * 3  # type: ignore[union-attr]  # as above


async def test_what_an_older_server_did_instead_of_planning_has_its_request_id() -> None:
    done = admin.RetryStepResponse(run_id="x:run:1", step=STEP)
    with answering(lambda _method, _context: done) as address:
        async with zart.connect(address) as client:
            with pytest.raises(zart.errors.NotPlanned) as made:
                await client.retry_step("x", "charge-card", validate_only=True)
            with pytest.raises(zart.errors.NotPlanned) as given:
                await client.retry_step("x", "charge-card", validate_only=True, request_id="mine")
    assert made.value.request_id
    assert given.value.request_id == "mine"


TOO_LARGE = 17_000_000  # bytes of a message


async def test_what_is_too_large_to_be_sent_is_told_as_what_the_server_takes_not(
    zart_server: ServerUnderTest,
) -> None:
    def start() -> str:
        with (
            zart.connect_sync(zart_server.address) as client,
            pytest.raises(zart.errors.PayloadTooLarge, match="too large to be sent") as refused,
        ):
            client.start("t", "x" * TOO_LARGE)
        return refused.value.request_id

    async with zart.connect(zart_server.address) as client:
        with pytest.raises(zart.errors.PayloadTooLarge, match="too large to be sent") as refused:
            await client.start("t", "x" * TOO_LARGE)
    assert refused.value.request_id
    assert reason_of(refused.value.status) == "PAYLOAD_TOO_LARGE"  # as what the server refuses
    assert await asyncio.to_thread(start)


@pytest.mark.parametrize("server_sends", [-1, 1000], ids=["to its caller", "to its server"])
async def test_of_an_answer_that_is_too_large_it_is_not_said(server_sends: int) -> None:
    async def answer(_request: bytes, _context: object) -> bytes:
        return bytes(TOO_LARGE)

    methods: dict[str, Any] = {"GetExecution": grpc.unary_unary_rpc_method_handler(answer)}
    service = "zart.v1.ExecutionService"
    server = grpc.aio.server(
        handlers=[grpc.method_handlers_generic_handler(service, methods)],
        options=[("grpc.max_send_message_length", server_sends)],
    )
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with zart.connect(address) as client:
            with pytest.raises(zart.errors.ZartError) as refused:
                await client.get_execution("x")
    finally:
        await server.stop(0)
    assert not isinstance(refused.value, zart.errors.PayloadTooLarge)


async def test_a_start_without_an_answer_has_the_request_id_that_it_was_sent_with() -> None:
    asked: list[bytes] = []

    async def never(request: bytes, _context: object) -> bytes:
        asked.append(request)
        await for_ever()
        return b""

    methods: dict[str, Any] = {"StartExecution": grpc.unary_unary_rpc_method_handler(never)}
    service = "zart.v1.ExecutionService"
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(service, methods)])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()

    def start() -> str:
        with (
            zart.connect_sync(address, timeout=0.5) as client,
            pytest.raises(zart.errors.Unreachable) as late,
        ):
            client.start("t")
        return late.value.request_id

    try:
        async with zart.connect(address, timeout=0.5) as client:
            with pytest.raises(zart.errors.Unreachable) as late:
                await client.start("t")
        told = {late.value.request_id, await asyncio.to_thread(start)}
    finally:
        await server.stop(0)
    assert len(told) == 2
    assert all(told)
    # Neither may have come as far as the server, on a machine that is busy.
    assert {pb.StartExecutionRequest.FromString(each).request_id for each in asked} <= told


async def _times_out(
    _request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
) -> AsyncIterator[bytes]:
    """Answer as a server does whose own time for the start was up."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="OPERATION_TIMEOUT", domain="zart"))
    status = status_pb2.Status(code=4, message="too long", details=[packed])
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too long", details)
    yield b""


async def test_a_servers_time_for_a_start_is_not_the_callers_for_the_run() -> None:
    methods: dict[str, Any] = {"RunExecution": grpc.unary_stream_rpc_method_handler(_times_out)}
    service = "zart.v1.ExecutionService"
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(service, methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    def run() -> None:
        with zart.connect_sync(f"127.0.0.1:{port}") as client:
            client.run("t", timeout=300)

    try:
        with pytest.raises(zart.errors.OperationTimeout):
            await asyncio.to_thread(run)
        async with zart.connect(f"127.0.0.1:{port}") as client:
            with pytest.raises(zart.errors.OperationTimeout):
                await client.run("t", timeout=300)
    finally:
        await server.stop(None)


def test_a_misspelt_kind_of_operation_is_no_kind() -> None:
    client = zart.connect_sync("127.0.0.1:1")
    with client, pytest.raises(ValueError, match="PAUSEE"):
        client.list_operations(kind="pausee")
