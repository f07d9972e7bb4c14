"""Many servers and dispatchers, many waiting ones, wide and long graphs, large payloads."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

import zart
from bench.calls import Caller, calling
from bench.drain import CONCURRENCY, draining
from bench.product import finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from zart.v1 import dispatch_service_pb2 as pb

TITLE = "several servers and dispatchers, fairness, wide and long graphs, 1 MiB payloads"
COLUMNS = {
    "steps_per_second": "steps/s",
    "seconds": "one execution, s",
    "least_share": "least served, share of the mean",
    "most_share": "most served",
    "mib_per_second": "MiB/s",
}
ONE, SEVERAL = "1 server, 1 dispatcher", "2 servers, 4 dispatchers"
FAIR = "{} dispatchers long-polling one server"
OUT, CHAIN, LARGE = "fan-out and fan-in", "chain", "1 MiB payloads"
_WAITING = 200
_PAYLOAD = secrets.token_hex(2**19 - 1)


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Measure each shape."""
    executions = run.size(25_000, 400)
    for _ in run.times(3):
        for name, servers, dispatchers in ((ONE, 1, 1), (SEVERAL, 2, 4)):
            told(series, name, steps_per_second=await _topology(executions, servers, dispatchers))
    steps = run.size(1000, 20)
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            shares = await _shares(
                made.address, client, run.size(_WAITING, 10), run.size(20_000, 200)
            )
            told(
                series,
                FAIR.format(_WAITING),
                least_share=min(shares),
                most_share=max(shares),
            )
            made.dispatch(CONCURRENCY)
            for round_ in run.times(3):
                for name, graph in ((OUT, _fan(steps)), (CHAIN, _chain(steps))):
                    begun = time.perf_counter()
                    handle = await client.start("single", steps=graph)
                    await handle.result(timeout=120)
                    seconds = time.perf_counter() - begun
                    told(
                        series,
                        f"{name}, {steps:,} steps",
                        seconds=seconds,
                        steps_per_second=steps / seconds,
                    )
                told(series, LARGE, **await _large(client, run.size(200, 5), round_))
    return {"executions": executions, "large payloads": run.size(200, 5)}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 7."""
    rate = "steps_per_second"
    fair = series.numbers[FAIR.format(_WAITING)]["least_share"]
    return [
        at_least(1, f"{SEVERAL}, against one of each", series.ratio((SEVERAL, rate), (ONE, rate))),
        at_least(0.5, f"least served of {_WAITING} waiting dispatchers", fair, "of the mean"),
    ]


async def _topology(executions: int, servers: int, dispatchers: int) -> float:
    with product() as made:
        for _ in range(servers):
            made.serve()
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            async with draining(made, executions * 3) as drained:
                for n in range(dispatchers):
                    made.dispatch(CONCURRENCY, made.addresses[n % servers])
                await finished(client)
        return drained.figures["steps_per_second"]


async def _shares(
    address: str, client: zart.Client, dispatchers: int, executions: int
) -> Sequence[float]:
    """Let many wait for work that trickles in; gives how much each got, as a share of the mean."""
    served = [0] * dispatchers
    left = executions

    async def dispatcher(n: int) -> None:
        nonlocal left
        request = pb.LeaseTasksRequest(
            dispatcher_id=f"waiting-{n}", task_names=["single"], max_tasks=1
        )
        request.wait.FromSeconds(5)
        async with calling(address) as caller:
            while left > 0:
                tasks = await _lease(caller, request)
                if not tasks:
                    continue
                served[n] += len(tasks)
                left -= len(tasks)
                outcomes = [
                    pb.TaskOutcome(
                        task_id=task.task_id,
                        lease_token=task.lease_token,
                        completed=pb.TaskCompleted(result_json="null"),
                    )
                    for task in tasks
                ]
                report = pb.ReportTasksRequest(dispatcher_id=f"waiting-{n}", outcomes=outcomes)
                await caller.send("DispatchService", "ReportTasks", report.SerializeToString())

    waiting = [asyncio.create_task(dispatcher(n)) for n in range(dispatchers)]
    batch = max(1, dispatchers // 2)  # never enough for all: who comes first is what is measured
    for first in range(0, executions, batch):
        count = min(batch, executions - first)
        await started(client, count, "single", first)
    await asyncio.gather(*waiting)
    mean = executions / dispatchers
    return [count / mean for count in served]


async def _lease(caller: Caller, request: pb.LeaseTasksRequest) -> Sequence[pb.LeasedTask]:
    answer = await caller.send("DispatchService", "LeaseTasks", request.SerializeToString())
    return pb.LeaseTasksResponse.FromString(answer).tasks


def _fan(steps: int) -> list[zart.StepSpec]:
    """One step, then all but two at the same time, then one that waits for all of them."""
    middle = [zart.StepSpec(f"part-{n}", ["begin"], "only") for n in range(steps - 2)]
    end = zart.StepSpec("end", [spec.step_name for spec in middle], "only")
    return [zart.StepSpec("begin", handler="only"), *middle, end]


def _chain(steps: int) -> list[zart.StepSpec]:
    return [
        zart.StepSpec(f"step-{n}", [f"step-{n - 1}"] if n else [], "only") for n in range(steps)
    ]


async def _large(client: zart.Client, count: int, round_: int) -> dict[str, float]:
    """Start executions with 1 MiB payloads, eight at a time, and wait until they are done."""
    numbers = iter(range(count))

    async def caller() -> None:
        for n in numbers:
            await client.start("single", _PAYLOAD, execution_id=f"large-{round_}-{n}")

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(8)))
    await finished(client)
    seconds = time.perf_counter() - begun
    return {"steps_per_second": count / seconds, "mib_per_second": count / seconds}
