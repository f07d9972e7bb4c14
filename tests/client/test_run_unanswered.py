"""A run whose start no server has answered in time: nobody knows whether it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from client.scripted import refusal
from google.rpc import code_pb2
from grpc_status import rpc_status
from waiting import for_ever

import zart
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as pb
from zart.v1.execution_service_pb2_grpc import (
    ExecutionServiceServicer,
    add_ExecutionServiceServicer_to_server,
)

SOON = 4.0  # seconds: a first message is there by then


class Silent(ExecutionServiceServicer):
    """Takes starts and never answers them; once it ``answers`` it says no more than that."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.knows_runs = True
        self.answers = False
        self.address = ""

    async def RunExecution(
        self, request: pb.RunExecutionRequest, context: Any
    ) -> AsyncIterator[pb.RunExecutionResponse]:
        self.asked.add(request.start.request_id)
        if not self.knows_runs:
            status = rpc_status.to_status(refusal(code_pb2.UNIMPLEMENTED, "UNKNOWN_METHOD", "no"))
            await context.abort(status.code, status.details, status.trailing_metadata)
        if self.answers:
            execution = states.Execution(execution_id="x")
            yield pb.RunExecutionResponse(started=pb.StartExecutionResponse(execution=execution))
        await for_ever()

    async def StartExecution(
        self,
        request: pb.StartExecutionRequest,
        context: Any,  # noqa: ARG002 - gRPC's
    ) -> pb.StartExecutionResponse:
        self.asked.add(request.request_id)
        await for_ever()
        return pb.StartExecutionResponse()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    server = grpc.aio.server()
    servicer = Silent()  # type: ignore[abstract]
    add_ExecutionServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


async def run(silent: Silent, kind: str, timeout: float, **options: Any) -> None:
    """Run a task by one of the clients."""
    if kind == "async":
        async with zart.connect(silent.address) as client:
            await client.run("t", timeout=timeout, **options)
    else:
        with zart.connect_sync(silent.address, timeout=timeout) as sync:
            await asyncio.to_thread(lambda: sync.run("t", timeout=timeout, **options))


@pytest.mark.parametrize("knows_runs", [True, False])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_the_error_says_so_and_has_the_request_id_to_ask_again(
    silent: Silent, kind: str, *, knows_runs: bool
) -> None:
    silent.knows_runs = knows_runs
    with pytest.raises(zart.Unreachable) as late:
        await run(silent, kind, 0.5)
    assert late.value.request_id
    assert silent.asked <= {late.value.request_id}  # which on a busy machine may not have come
    with pytest.raises(zart.Unreachable) as late:
        await run(silent, kind, 0.5, request_id="mine")
    assert late.value.request_id == "mine"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_once_it_was_answered_the_run_is_what_takes_too_long(
    silent: Silent, kind: str
) -> None:
    silent.answers = True
    with pytest.raises(TimeoutError):
        await run(silent, kind, SOON)
