"""How fast a backlog drains: 3-step no-op executions, one server, one dispatcher process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

import zart
from bench import limit_grpc, limit_sql, peer
from bench.product import Product, finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least

TITLE = "steps per second through one server and one dispatcher"
COLUMNS = {
    "steps_per_second": "steps/s",
    "server_us_per_step": "server, µs CPU a step",
    "dispatcher_us_per_step": "dispatcher, µs",
    "postgres_us_per_step": "PostgreSQL, µs",
}
RATIO = ("zart", "steps_per_second")
PLOT = ("steps_per_second", "steps (or jobs, or calls) per second")
STEPS = 3
CONCURRENCY = 256
SQL = "SQL alone (limit)"
GRPC = "grpc.aio alone (limit)"
GRPC_BATCHED = f"grpc.aio, {limit_grpc.ITEMS} a message (limit)"

_BOUNDS = {peer.RESTATE.name: 4.5, peer.ABSURD.name: 5, peer.DBOS.name: 20, SQL: 0.27}
_PEER_EXECUTIONS = {
    peer.RESTATE: 5000,
    peer.ABSURD: 2500,
    peer.DBOS: 800,
    peer.ZART_ITSELF: 1000,
    peer.PGQUEUER: 100_000,
}


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Let everybody drain in turn, several times round."""
    executions = run.size(30_000, 600)
    for _ in run.times(5):
        told(series, "zart", **await product_drain(executions))
        for other in peer.installed("drain") if run.peers else []:
            count = run.size(_PEER_EXECUTIONS[other], 100)
            told(series, other.name, **await peer.measured(other, "drain", count))
        rate = await limit_sql.rate(run.size(250_000, 2000))
        told(series, SQL, steps_per_second=rate)
        echo = await limit_grpc.rates(run.size(2, 1) / 2)
        told(series, GRPC, steps_per_second=echo["unary_per_second"])
        told(series, GRPC_BATCHED, steps_per_second=echo["items_per_second"])
    return {
        "executions": executions,
        "concurrency": CONCURRENCY,
        "peers": await peer.versions() if run.peers else {},
    }


def targets(series: Series) -> list[Target]:
    """Compare with the peers of the same rounds."""
    mine = ("zart", "steps_per_second")
    return [
        *(
            at_least(bound, f"steps/s against {other}", series.ratio(mine, (other, mine[1])))
            for other, bound in _BOUNDS.items()
            if series.has(other, mine[1])
        ),
        at_least(18_000, "steps/s, to aim for", series.numbers["zart"][mine[1]], "steps/s"),
    ]


async def product_drain(executions: int) -> dict[str, float]:
    """Queue executions in an empty system and drain them."""
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            async with draining(made, executions * STEPS) as drained:
                made.dispatch(CONCURRENCY)
                await finished(client)
            return drained.figures


@dataclass
class Drained:
    """What a drain came to, once its context is left."""

    figures: dict[str, float]


@contextlib.asynccontextmanager
async def draining(
    made: Product, steps: int = 0, status: zart.StepStatus = zart.StepStatus.COMPLETED
) -> AsyncIterator[Drained]:
    """Measure what is drained within the context: rate and CPU, from first to last outcome.

    The times are those that the database recorded; the boot of the dispatchers does not count.
    Where ``steps`` is given, it must have been so many. ``status``: how they end.
    """
    drained = Drained({})
    async with made.db() as db:
        known = await db.fetchval("SELECT statement_timestamp()")
        server, postgres = sum(s.cpu for s in made.servers), made.postgres_cpu
        first = asyncio.create_task(_boot_cpu(made, db, known))
        try:
            yield drained
            boot = await first
        finally:
            first.cancel()
        cpu = {
            "server": sum(s.cpu for s in made.servers) - server,
            "dispatcher": sum(d.cpu for d in made.dispatchers) - boot,
            "postgres": made.postgres_cpu - postgres,
        }
        ended, seconds = await ended_since(db, known, status)
    if steps not in (0, ended):
        raise RuntimeError(f"{ended} of {steps} steps are {status.name}")
    drained.figures = {
        "steps_per_second": ended / seconds,
        **{f"{who}_us_per_step": used * 1e6 / ended for who, used in cpu.items()},
    }


async def _boot_cpu(made: Product, db: asyncpg.Connection[asyncpg.Record], known: object) -> float:
    """Return the CPU that the dispatchers had used when the first outcome was recorded."""
    while not await db.fetchval(
        "SELECT EXISTS (SELECT FROM zart_step_attempts WHERE completed_at > $1)", known
    ):
        await asyncio.sleep(0.01)
    return sum(d.cpu for d in made.dispatchers)


async def ended_since(
    db: asyncpg.Connection[asyncpg.Record],
    known: object,
    status: zart.StepStatus = zart.StepStatus.COMPLETED,
) -> tuple[int, float]:
    """Count the steps that ended so since then, and the seconds from the first to the last."""
    row = await db.fetchrow(
        "SELECT count(*) AS steps, extract(epoch FROM max(completed_at) - min(completed_at))"
        "::float AS seconds FROM zart.steps WHERE status = $2 AND completed_at > $1",
        known,
        status.name.lower(),
    )
    assert row is not None
    return row["steps"], row["seconds"]
