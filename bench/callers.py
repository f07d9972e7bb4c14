"""How many calls a second a server answers, one execution a call, against an echo of grpc.aio."""

from __future__ import annotations

import asyncio
import time

from bench import limit_grpc
from bench.calls import Caller, calling
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from zart.v1 import execution_service_pb2 as pb

TITLE = "calls per second, one execution a call"
COLUMNS = {
    "starts_per_second": "StartExecution/s, 16 callers",
    "gets_per_second": "GetExecution/s, 16 callers",
    "client_starts_per_second": "client.start/s, 64 tasks of one Python process",
    "echoes_per_second": "calls/s, 16 callers",
}
ZART, ECHO = "zart", "grpc.aio, an echo (limit)"
_CALLERS = 16
_TASKS = 64


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Ask the server and the echo in turn, several times round."""
    count = run.size(4000, 60)
    for _ in run.times(5):
        with product() as made:
            made.serve()
            async with made.client() as client:
                await registered(client)
            async with calling(made.address) as caller:
                await _starts(caller, run.size(400, 20), "warm")
                starts = await _starts(caller, count, "one")
                gets = await _gets(caller, count)
            told(
                series,
                ZART,
                starts_per_second=starts,
                gets_per_second=gets,
                client_starts_per_second=await _client_starts(made, run.size(100, 2)),
            )
        with limit_grpc.echoing() as address:
            async with calling(address) as caller:
                await _starts(caller, run.size(400, 20), "warm")
                told(series, ECHO, echoes_per_second=await _starts(caller, 2 * count, "one"))
    return {"calls": count}


def targets(series: Series) -> list[Target]:
    """Issue 16, the table: one a call."""
    echo = (ECHO, "echoes_per_second")
    return [
        at_least(0.55, f"{name}, against an echo", series.ratio((ZART, figure), echo))
        for name, figure in (
            ("StartExecution", "starts_per_second"),
            ("GetExecution", "gets_per_second"),
        )
    ] + [
        at_least(
            6000,
            f"client.start of {_TASKS} tasks of one Python process",
            series.numbers[ZART]["client_starts_per_second"],
            "/s",
        )
    ]


async def _starts(caller: Caller, count: int, name: str) -> float:
    requests = [
        pb.StartExecutionRequest(execution_id=f"{name}-{n}", task_name="noop3")
        for n in range(count)
    ]
    timed = await caller.timed("ExecutionService", "StartExecution", requests, _CALLERS)
    return timed.per_second


async def _gets(caller: Caller, count: int) -> float:
    requests = [pb.GetExecutionRequest(execution_id=f"one-{n}") for n in range(count)]
    timed = await caller.timed("ExecutionService", "GetExecution", requests, _CALLERS)
    return timed.per_second


async def _client_starts(made: Product, each: int) -> float:
    async with made.client() as client:

        async def start(task: int) -> None:
            for n in range(each):
                await client.start("noop3", execution_id=f"client-{task}-{n}")

        begun = time.perf_counter()
        await asyncio.gather(*(start(task) for task in range(_TASKS)))
        return _TASKS * each / (time.perf_counter() - begun)
