"""What watches cost whoever they watch: a drain beside none, 500 and 2,000 of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc

from bench.drain import CONCURRENCY, STEPS, draining
from bench.product import finished as all_finished
from bench.product import product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from zart.v1 import execution_service_pb2 as pb

TITLE = "a drain whose executions are watched"
COLUMNS = {
    "steps_per_second": "steps/s",
    "server_us_per_step": "server, µs CPU a step",
    "dispatcher_us_per_step": "dispatcher, µs",
    "postgres_us_per_step": "PostgreSQL, µs",
    "messages": "messages a watch",
}
PLOT = ("steps_per_second", "steps per second")
_NAMES = ("no watches", "500 watches", "2,000 watches")
_METHOD = "/zart.v1.ExecutionService/WatchExecution"
_TOLD_WITHIN = 60.0  # seconds
_BEGIN = 100  # watches at a time


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Drain beside so many watches in turn, several times round."""
    executions = run.size(30_000, 600)
    for _ in run.times(5):
        for name, watches in zip(_NAMES, (0, run.size(500, 20), run.size(2000, 60)), strict=True):
            told(series, name, **await _drained(executions, watches))
    return {"executions": executions, "concurrency": CONCURRENCY}


def targets(series: Series) -> list[Target]:
    """Issue 11, point 2."""
    rate = "steps_per_second"
    return [
        at_least(0.9, f"drain beside {name}", series.ratio((name, rate), (_NAMES[0], rate)))
        for name in _NAMES[1:]
    ]


async def _drained(executions: int, watches: int) -> dict[str, float]:
    """Queue executions in an empty system, watch some all over, and drain them."""
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            names = [f"noop3-{n * executions // watches}" for n in range(watches)]
            async with (
                _watching(made.address, names) as messages,
                draining(made, executions * STEPS) as drained,
            ):
                made.dispatch(CONCURRENCY)
                await all_finished(client)
            return {**drained.figures, "messages": sum(messages) / max(watches, 1)}


@contextlib.asynccontextmanager
async def _watching(address: str, names: list[str]) -> AsyncIterator[list[int]]:
    """Watch executions, from their first message until each has ended; counts what is told."""
    messages = [0] * len(names)
    # Bytes: what their callers make of them is not measured.
    async with grpc.aio.insecure_channel(address) as channel:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_METHOD)

        begin = asyncio.Semaphore(_BEGIN)

        async def follow(number: int, name: str) -> None:
            request = pb.WatchExecutionRequest(execution_id=name).SerializeToString()
            async with begin:
                call = watch(request)
                await call.read()
                messages[number] = 1
            while await call.read() is not grpc.aio.EOF:
                messages[number] += 1

        following = [asyncio.create_task(follow(n, name)) for n, name in enumerate(names)]
        try:
            async with asyncio.timeout(_TOLD_WITHIN):
                while not all(messages):
                    await asyncio.sleep(0.05)
                    if any(one.done() for one in following):
                        await asyncio.gather(*following)
            yield messages
            async with asyncio.timeout(_TOLD_WITHIN):
                await asyncio.gather(*following)
        finally:
            for one in following:
                one.cancel()
            await asyncio.gather(*following, return_exceptions=True)
