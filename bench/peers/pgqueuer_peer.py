"""pgqueuer: a queue only. Jobs that do nothing; no steps, no results, no dependencies."""

from __future__ import annotations

import time
from datetime import timedelta

import asyncpg
import uvloop
from measured import arguments, say
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.domain.types import QueueExecutionMode
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 500


async def enqueued(queries: Queries, count: int) -> float:
    begun = time.perf_counter()
    for begin in range(0, count, 1000):
        size = min(1000, count - begin)
        await queries.enqueue(["noop"] * size, [b"1"] * size, [0] * size)
    return time.perf_counter() - begun


async def drain(url: str, count: int) -> None:
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.install()
        await enqueued(queries, count)
        worker = PgQueuer(driver)
        first = last = 0.0
        done = 0

        @worker.entrypoint("noop")
        async def noop(_job: Job) -> None:
            nonlocal first, last, done
            last = time.perf_counter()
            first = first or last
            done += 1

        await worker.qm.run(
            mode=QueueExecutionMode.drain,
            batch_size=BATCH,
            dequeue_timeout=timedelta(seconds=1),
        )
        assert done == count, done
        say(steps_per_second=done / (last - first))


async def start(url: str, count: int) -> None:
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        await enqueued(queries, 1000)
        say(starts_per_second=count / await enqueued(queries, count))


if __name__ == "__main__":
    given = arguments()
    uvloop.run(globals()[given.command](given.url, given.count))
