"""How fast executions are started: BatchStartExecutions, a thousand executions a call."""

from __future__ import annotations

from bench import peer
from bench.calls import calling
from bench.product import product, registered
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from zart.v1 import execution_service_pb2 as pb

TITLE = "executions of three steps started per second"
COLUMNS = {
    "starts_per_second": "executions/s, in bulk where it can",
    "single_starts_per_second": "executions/s, one a call",
    "server_us_per_start": "server, µs CPU an execution",
    "postgres_us_per_start": "PostgreSQL, µs",
}
RATIO = ("zart", "starts_per_second")
PLOT = ("starts_per_second", "executions (or jobs) started per second")
BATCH = 1000
CALLERS = 4
_PEER_STARTS = {
    peer.RESTATE: 8000,
    peer.ABSURD: 20_000,
    peer.DBOS: 3000,
    peer.ZART_ITSELF: 4000,
    peer.PGQUEUER: 50_000,
}


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Start in turn."""
    batches = run.size(100, 4)
    singles = run.size(3000, 50)
    for _ in run.times(3):
        with product() as made:
            server = made.serve()
            async with made.client() as client:
                await registered(client)
            async with calling(made.address) as caller:
                service = "ExecutionService"
                await caller.timed(service, "BatchStartExecutions", _batches(4, "warm"), CALLERS)
                cpu, postgres = server.cpu, made.postgres_cpu
                bulk = await caller.timed(
                    service, "BatchStartExecutions", _batches(batches, "bulk"), CALLERS
                )
                cpu, postgres = server.cpu - cpu, made.postgres_cpu - postgres
                single = await caller.timed(
                    service,
                    "StartExecution",
                    [
                        pb.StartExecutionRequest(execution_id=f"single-{n}", task_name="noop3")
                        for n in range(singles)
                    ],
                    callers=16,
                )
        count = batches * BATCH
        told(
            series,
            "zart",
            starts_per_second=count / bulk.seconds,
            single_starts_per_second=single.per_second,
            server_us_per_start=cpu * 1e6 / count,
            postgres_us_per_start=postgres * 1e6 / count,
        )
        for other in peer.installed("start") if run.peers else []:
            count = run.size(_PEER_STARTS[other], 160)
            told(series, other.name, **await peer.measured(other, "start", count))
    return {"executions a call": BATCH, "callers": CALLERS}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 3."""
    found = series.numbers["zart"]["starts_per_second"]
    return [at_least(20_000, "executions of three steps started in bulk", found, "/s")]


def _batches(count: int, name: str) -> list[pb.BatchStartExecutionsRequest]:
    return [
        pb.BatchStartExecutionsRequest(
            requests=[
                pb.StartExecutionRequest(execution_id=f"{name}-{batch}-{n}", task_name="noop3")
                for n in range(BATCH)
            ]
        )
        for batch in range(count)
    ]
