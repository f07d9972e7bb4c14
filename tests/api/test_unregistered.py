"""A server waits for one call at a time to come, not for one of each method."""

from __future__ import annotations

import asyncio
from typing import cast

import grpc
import grpc.aio
import pytest

from zart.v1 import admin_service_pb2 as pb
from zart.v1 import admin_service_pb2_grpc
from zart_server.api.unregistered import UnregisteredMethods


async def test_a_server_waits_for_one_call_whatever_methods_it_has() -> None:
    server = grpc.aio.server()
    methods = cast("grpc.aio.Server", UnregisteredMethods(server))
    servicer = admin_service_pb2_grpc.AdminServiceServicer()  # type: ignore[abstract]  # all of it
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(servicer, methods)
    port = server.add_insecure_port("127.0.0.1:0")
    before = asyncio.all_tasks()
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="Method not implemented!"):
            await stub.Pause(pb.PauseRequest())
    waiting = asyncio.all_tasks() - before
    await server.stop(0)

    assert len(waiting) < 5
