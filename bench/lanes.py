"""What a claim costs where work is spread over many lanes: LeaseTasks of a hundred."""

from __future__ import annotations

import zart
from bench.calls import calling
from bench.product import Product, product
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_most
from zart.v1 import dispatch_service_pb2 as pb

TITLE = "LeaseTasks of 100 tasks, from many lanes"
COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "wal_kib": "WAL, KiB a call",
}
PLOT = ("p50_ms", "LeaseTasks p50, ms")
_LANES = (1, 200, 500)
_CALLERS = (1, 4)
_TASKS = 100  # a call
_STEPS = 1000  # an execution, all ready at once, so that nothing but the lanes differs


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Lease from one lane, from some and from many in turn, alone and four at once."""
    calls = run.size(40, 8)
    with product() as made:
        made.serve()
        async with made.client() as client:
            for lanes in _LANES:
                await client.register_task(_task(lanes), _graph(lanes))
        for round_ in run.times(3):
            for callers in _CALLERS:
                for lanes in _LANES:
                    figures = await _leased(made, lanes, callers, calls, round_)
                    told(series, _name(lanes, callers), **figures)
    return {"calls": calls, "tasks a call": _TASKS}


def targets(series: Series) -> list[Target]:
    """Many lanes cost what one costs, but for a look at the first task of each."""
    many = _LANES[-1]
    return [
        at_most(
            bound,
            f"{many} lanes against one, {_says(callers)}: {what}",
            series.ratio((_name(many, callers), figure), (_name(1, callers), figure)),
        )
        for callers in _CALLERS
        for figure, what, bound in (("p50_ms", "p50", 2), ("wal_kib", "WAL", 2))
    ]


def _says(callers: int) -> str:
    return "one caller" if callers == 1 else f"{callers} callers"


def _name(lanes: int, callers: int) -> str:
    return f"{lanes} {'lane' if lanes == 1 else 'lanes'}, {_says(callers)}"


def _task(lanes: int) -> str:
    return f"lanes-{lanes}"


def _graph(lanes: int) -> list[zart.StepSpec]:
    return [zart.StepSpec(f"step-{n}", handler=f"handler-{n % lanes}") for n in range(_STEPS)]


async def _leased(
    made: Product, lanes: int, callers: int, calls: int, round_: int
) -> dict[str, float]:
    """Queue a little more than is leased, then lease it."""
    task = _task(lanes)
    executions = calls * _TASKS // _STEPS + 2
    request = pb.LeaseTasksRequest(dispatcher_id="bench", task_names=[task], max_tasks=_TASKS)
    request.lease_duration.FromSeconds(600)
    async with made.client() as client, made.db() as db, calling(made.address) as caller:
        ids = [f"{task}-{callers}-{round_}-{n}" for n in range(executions)]
        for execution_id in ids:
            await client.start(task, execution_id=execution_id)
        await db.execute("CHECKPOINT")
        begun = await db.fetchval("SELECT pg_current_wal_insert_lsn()")
        timed = await caller.timed("DispatchService", "LeaseTasks", [request] * calls, callers)
        written = await db.fetchval(
            "SELECT (pg_current_wal_insert_lsn() - $1)::float8 / 1024", begun
        )
        leased = await db.fetchval("SELECT count(*) FROM zart_tasks WHERE status = 'running'")
        for execution_id in ids:
            await client.cancel_execution(execution_id)
    # Of calls at the same moment one may get fewer than it asked for, and would ask again.
    least = calls * _TASKS if callers == 1 else calls
    if leased < least:
        raise RuntimeError(f"{leased} tasks were leased, not {least}")
    return {**p50_p99(timed.milliseconds), "wal_kib": written / leased * _TASKS}
