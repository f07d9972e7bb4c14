"""What a page of a list costs beside a million executions, whatever the filter, found or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from google.protobuf.message import Message

import zart
from bench.calls import calling
from bench.history import multiplied
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_most
from zart.models import StepError
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2
from zart.v1 import execution_service_pb2 as pb

TITLE = "a page of 50 of a list, in a system of a million executions"
COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "pages_per_second": "pages/s, one caller",
}
PLOT = ("p99_ms", "milliseconds, p99 of a page of 50")
_GROUPS = (
    "statuses",
    "statuses of a task",
    "states of steps",
    "states of steps of a task",
    "times",
    "operations",
)


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Load a system, and ask for pages by each filter."""
    counts = {
        "finished": run.size(600_000, 300),
        "failed": run.size(50_000, 30),
        "cancelled": run.size(100_000, 50),
        "queued": run.size(150_000, 200),
        "withheld": run.size(100_000, 100),
    }
    with product() as made:
        made.serve()
        await _loaded(made, counts)
        times = run.size(60, 2)
        for _ in run.times(3):
            for group in _GROUPS:
                requests = list(_requests(group)) * times
                service = "AuditService" if group == "operations" else "ExecutionService"
                method = "ListOperations" if group == "operations" else "ListExecutions"
                async with calling(made.address) as caller:
                    timed = await caller.timed(service, method, requests)
                took = p50_p99(timed.milliseconds)
                told(series, group, **took, pages_per_second=timed.per_second)
    return {**{f"executions {name}": count for name, count in counts.items()}, "pages": times}


def targets(series: Series) -> list[Target]:
    """Issue 11, point 2."""
    return [
        at_most(50, f"p99 of a page by {group}", series.numbers[group]["p99_ms"], "ms")
        for group in _GROUPS
    ]


def _requests(group: str) -> Iterator[Message]:
    """Return a request for each filter of a group."""
    tasks = ("noop3", "ten", "nobody's") if group.endswith("of a task") else ("",)
    runs = [[value] for value in execution_pb2.RunStatus.values() if value]
    steps = [[value] for value in execution_pb2.StepStatus.values() if value]
    if group.startswith("statuses"):
        unfinished = [execution_pb2.RUN_STATUS_SCHEDULED, execution_pb2.RUN_STATUS_RUNNING]
        for task, statuses in itertools.product(tasks, [[], *runs, unfinished]):
            yield pb.ListExecutionsRequest(task_name=task, statuses=statuses)
    elif group.startswith("states of steps"):
        for task, states in itertools.product(tasks, steps):
            yield pb.ListExecutionsRequest(task_name=task, step_statuses=states)
    elif group == "times":
        for seconds, statuses in itertools.product((1, 4_000_000_000), [[], *runs]):
            for field in ("created_after", "created_before"):
                request = pb.ListExecutionsRequest(statuses=statuses)
                getattr(request, field).FromSeconds(seconds)
                yield request
    else:
        for kind in audit.OperationKind.values():
            yield audit.ListOperationsRequest(kind=kind)
            yield audit.ListOperationsRequest(kind=kind, execution_id="finished")


async def _loaded(made: Product, counts: dict[str, int]) -> None:
    """Make one execution of each kind through the API, and copy it."""
    async with made.client() as client:
        await registered(client)
        for name in ("finished", "failed"):
            await client.start("noop3", execution_id=name)
            while tasks := await client.lease_tasks("bench", ["noop3"]):
                await client.report_tasks("bench", [_outcome(task) for task in tasks])
        await client.start("noop3", execution_id="cancelled")
        await client.cancel_execution("cancelled")
        await client.pause(task_name="ten", reason="withheld")
        await client.start("ten", execution_id="withheld")
        await client.start("noop3", execution_id="queued")
        for name, count in counts.items():
            await multiplied(made, name, count)


def _outcome(task: zart.LeasedTask) -> zart.Outcome:
    ending: zart.Completed | zart.Failed = zart.Completed(1)
    if task.execution_id == "failed":
        ending = zart.Failed(StepError("Broken", "no", ""), retryable=False)
    return zart.Outcome(task.task_id, task.lease_token, ending)
