"""A server of ExecutionService whose answers a test makes, and what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from zart.v1 import execution_pb2
from zart.v1 import execution_service_pb2 as pb

Call = tuple[str, Sequence[str]]  # the method, and the executions that it is to start
Behave = Callable[[Call, grpc.aio.ServicerContext[Any, Any]], Awaitable[None]]


async def do_nothing(_call: Call, _context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Let the call be answered."""


def started(execution_id: str) -> execution_pb2.Execution:
    """Make an execution."""
    return execution_pb2.Execution(execution_id=execution_id, task_name="t")


@asynccontextmanager
async def starting(asked: list[Call], behave: Behave = do_nothing) -> AsyncIterator[str]:
    """Run a server that starts whatever it is asked for, once ``behave`` returns; its address."""

    async def one(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        request = pb.StartExecutionRequest.FromString(raw)
        asked.append(("StartExecution", [request.execution_id]))
        await behave(asked[-1], context)
        answer = pb.StartExecutionResponse(execution=started(request.execution_id))
        return answer.SerializeToString()

    async def many(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        requests = pb.BatchStartExecutionsRequest.FromString(raw).requests
        asked.append(("BatchStartExecutions", [each.execution_id for each in requests]))
        await behave(asked[-1], context)
        results = [
            pb.BatchStartExecutionsResult(execution=started(each.execution_id)) for each in requests
        ]
        return pb.BatchStartExecutionsResponse(results=results).SerializeToString()

    handlers: dict[str, Any] = {  # the stubs have those of threads
        "StartExecution": grpc.unary_unary_rpc_method_handler(one),
        "BatchStartExecutions": grpc.unary_unary_rpc_method_handler(many),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([
        grpc.method_handlers_generic_handler("zart.v1.ExecutionService", handlers)
    ])  # fmt: skip
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
