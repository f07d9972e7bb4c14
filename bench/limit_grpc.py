"""The physical limit above: grpc.aio alone, a server process that answers and does nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import grpc
import grpc.aio
import uvloop

from bench.product import ROOT, await_listening
from zart.v1 import dispatch_service_pb2 as pb
from zart_server.embedded.postgres import free_port

ITEMS = 100
OPEN_CALLS = 32

_Method: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


class _Echo(grpc.GenericRpcHandler):
    """Answers every method: /echo/one with what it was sent, /echo/many with an item for each."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        method: str | bytes = details.method
        return grpc.unary_unary_rpc_method_handler(_many if method == "/echo/many" else _one)


async def _one(request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


async def _many(request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    outcomes = pb.ReportTasksRequest.FromString(request).outcomes
    return pb.ReportTasksResponse(
        results=[
            pb.ReportResult(task_id=o.task_id, status=pb.REPORT_STATUS_RECORDED) for o in outcomes
        ]
    ).SerializeToString()


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    """Run the echo in a process of its own; gives its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port)], cwd=ROOT)
    try:
        await_listening(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def rates(seconds: float) -> dict[str, float]:
    """Return unary calls per second, and items per second in messages of a hundred."""
    with echoing() as address:
        async with grpc.aio.insecure_channel(address) as channel:
            one: _Method = channel.unary_unary("/echo/one")
            many: _Method = channel.unary_unary("/echo/many")
            return {
                "unary_per_second": await _rate(lambda: one(b"x" * 40), seconds),
                "items_per_second": ITEMS * await _rate(lambda: _ask_many(many), seconds),
            }


async def _ask_many(many: _Method) -> None:
    request = pb.ReportTasksRequest(
        outcomes=[
            pb.TaskOutcome(
                task_id=f"{n:x}-1-1", lease_token=n, completed=pb.TaskCompleted(result_json="1")
            )
            for n in range(ITEMS)
        ]
    )
    answer = pb.ReportTasksResponse.FromString(await many(request.SerializeToString()))
    if len(answer.results) != ITEMS:
        raise RuntimeError("the echo lost items")


async def _rate(call: Callable[[], Awaitable[object]], seconds: float) -> float:
    calls = 0
    begun = time.perf_counter()
    until = begun + seconds

    async def caller() -> None:
        nonlocal calls
        while time.perf_counter() < until:
            await call()
            calls += 1

    await asyncio.gather(*(caller() for _ in range(OPEN_CALLS)))
    return calls / (time.perf_counter() - begun)


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
