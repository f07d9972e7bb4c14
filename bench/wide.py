"""What an operator waits for at a run of ten thousand steps."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zart
from bench.product import product, registered
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_most

TITLE = "CancelExecution and Restart of a run with 10,000 steps"
COLUMNS = {"seconds": "s"}


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Cancel one, restart another, several times."""
    steps = run.size(10_000, 1_000)
    graph = [
        zart.StepSpec("begin", handler="only"),
        *(zart.StepSpec(f"part-{n}", ["begin"], "only") for n in range(steps - 1)),
    ]
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            for round_ in run.times(5):
                for name, operate in (
                    ("Restart", client.restart),
                    ("CancelExecution", client.cancel_execution),
                ):
                    execution_id = f"{name}-{round_}"
                    await _queued(client, execution_id, graph)
                    begun = time.perf_counter()
                    await operate(execution_id)
                    told(series, name, seconds=time.perf_counter() - begun)
    return {"steps": steps}


async def _queued(client: zart.Client, execution_id: str, graph: Sequence[zart.StepSpec]) -> None:
    """Start an execution and complete its first step, so that all others are queued."""
    await client.start("single", execution_id=execution_id, steps=graph)
    (task,) = [
        task
        for task in await client.lease_tasks("bench", ["single"], max_tasks=2)
        if task.execution_id == execution_id
    ]
    done = zart.Outcome(task.task_id, task.lease_token, zart.Completed(None))
    await client.report_tasks("bench", [done])


def targets(series: Series) -> list[Target]:
    """Issue 11: an operation is linear in the steps of its run."""
    return [
        at_most(0.5, name, series.numbers[name]["seconds"], "s")
        for name in ("CancelExecution", "Restart")
    ]
