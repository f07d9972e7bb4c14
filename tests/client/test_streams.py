"""A run in one call: what becomes of it when its stream breaks, with asyncio and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from client.scripted import refusal
from google.rpc import code_pb2
from grpc_status import rpc_status
from waiting import GIVE_UP

import zart
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as pb
from zart.v1 import execution_service_pb2_grpc

STARTED = pb.StartExecutionResponse(execution=states.Execution(execution_id="x"))
DONE = pb.WatchExecutionResponse(
    run=states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json="7")
)
BUSY = states.Run(run_id="x:run:0", status=states.RUN_STATUS_RUNNING)
DRAINING = code_pb2.UNAVAILABLE, "SHUTTING_DOWN"
UNKNOWN = code_pb2.UNIMPLEMENTED, "UNKNOWN_METHOD"
NOT_FOUND = code_pb2.NOT_FOUND, "EXECUTION_NOT_FOUND"


class Breaking(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Answers a run with some messages and an error, and watches as often with an error."""

    def __init__(self) -> None:
        self.told: list[pb.RunExecutionResponse] = []
        self.run_ends = self.watch_breaks = DRAINING
        self.breaks = 0
        self.calls: list[Any] = []

    async def RunExecution(
        self, request: pb.RunExecutionRequest, context: Any
    ) -> AsyncIterator[pb.RunExecutionResponse]:
        self.calls.append(request)
        for message in self.told:
            yield message
        await _fail(context, *self.run_ends)

    async def StartExecution(
        self,
        request: pb.StartExecutionRequest,
        context: Any,  # noqa: ARG002 - gRPC's
    ) -> pb.StartExecutionResponse:
        self.calls.append(request)
        return STARTED

    async def WatchExecution(
        self, request: pb.WatchExecutionRequest, context: Any
    ) -> AsyncIterator[pb.WatchExecutionResponse]:
        self.calls.append(request)
        yield pb.WatchExecutionResponse(run=BUSY)
        if self.breaks:
            self.breaks -= 1
            await _fail(context, *self.watch_breaks)
        yield DONE


async def _fail(context: Any, code: int, reason: str) -> None:
    status = rpc_status.to_status(refusal(code, reason, "broken"))
    await context.abort(status.code, status.details, status.trailing_metadata)


Runs = Callable[[], Awaitable[object]]


@pytest.fixture
async def breaking() -> AsyncIterator[tuple[Breaking, str]]:
    server = grpc.aio.server()
    servicer = Breaking()  # type: ignore[abstract]
    execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture(params=["async", "sync"])
async def run(request: Any, breaking: tuple[Breaking, str]) -> AsyncIterator[Runs]:
    _, address = breaking
    if request.param == "async":
        async with zart.connect(address) as client:
            yield lambda: client.run("t", timeout=GIVE_UP)
    else:
        with zart.connect_sync(address) as sync:
            yield lambda: asyncio.to_thread(sync.run, "t", timeout=GIVE_UP)


async def test_a_started_run_goes_on_as_a_watch(breaking: tuple[Breaking, str], run: Runs) -> None:
    servicer, _ = breaking
    servicer.told = [
        pb.RunExecutionResponse(started=STARTED),
        pb.RunExecutionResponse(state=pb.WatchExecutionResponse(run=BUSY)),
    ]
    servicer.breaks = 1
    assert await run() == 7
    kinds = [type(call).__name__ for call in servicer.calls]
    assert kinds == ["RunExecutionRequest", *["WatchExecutionRequest"] * 2]
    assert {call.execution_id for call in servicer.calls[1:]} == {"x"}


async def test_an_older_server_is_asked_for_start_and_watch(
    breaking: tuple[Breaking, str], run: Runs
) -> None:
    servicer, _ = breaking
    servicer.run_ends = UNKNOWN
    assert await run() == 7
    first, second, _ = servicer.calls
    assert first.start == second
    assert second.request_id


async def test_a_refused_run_ends_with_what_it_was_refused_with(
    breaking: tuple[Breaking, str], run: Runs
) -> None:
    servicer, _ = breaking
    servicer.run_ends = code_pb2.ALREADY_EXISTS, "EXECUTION_EXISTS"
    with pytest.raises(zart.errors.ExecutionExists):
        await run()
    servicer.told = [pb.RunExecutionResponse(started=STARTED)]
    servicer.run_ends = NOT_FOUND
    with pytest.raises(zart.errors.ExecutionNotFound):
        await run()
    assert len(servicer.calls) == 2
