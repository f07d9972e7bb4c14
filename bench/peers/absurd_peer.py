"""absurd: a task of three steps that do nothing, in plain worker processes.

Eight processes with one connection each were the fastest of those tried on two cores: its worker
has one connection, so neither threads nor coroutines within it run at the same time.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import absurdctl
import psycopg
from absurd_sdk import Absurd, AsyncAbsurd
from measured import arguments, say, timed

PROCESSES = 8
BATCH = 16
QUEUE = "bench"
DONE = "SELECT count(*) FROM absurd.t_bench WHERE state = 'completed'"


def app(url: str) -> Absurd:
    made = Absurd(url, queue_name=QUEUE)

    @made.register_task("noop3")
    def noop3(_params: object, ctx: object) -> int:
        ctx.step("one", lambda: 1)
        ctx.step("two", lambda: 2)
        return ctx.step("three", lambda: 3)

    return made


def installed(url: str) -> psycopg.Connection:
    db = psycopg.connect(url, autocommit=True)
    if db.execute("SELECT to_regnamespace('absurd')").fetchone()[0] is None:
        db.execute(absurdctl.BUNDLED_SCHEMA_SQL)  # what `absurdctl init` applies
        db.execute("SELECT absurd.create_queue(%s)", (QUEUE,))
    return db


def spawned(db: psycopg.Connection, count: int) -> float:
    """Spawn tasks, a thousand a statement; gives seconds."""
    begun = time.perf_counter()
    for begin in range(0, count, 1000):
        db.execute(
            "SELECT count(s.task_id) FROM generate_series(1, %s) n,"
            " LATERAL absurd.spawn_task(%s, 'noop3', to_jsonb(n), '{}') s",
            (min(1000, count - begin), QUEUE),
        )
    return time.perf_counter() - begun


def work(url: str, _count: int) -> None:
    app(url).start_worker(concurrency=1, batch_size=BATCH, poll_interval=0.005)


def workers(url: str, count: int) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, __file__, "work", "--url", url, "--count", "0"]
    return [subprocess.Popen(command) for _ in range(count)]


def completed(db: psycopg.Connection, count: int) -> None:
    until = time.monotonic() + 120
    while db.execute(DONE).fetchone()[0] < count:
        if time.monotonic() > until:
            raise SystemExit("absurd did not finish")
        time.sleep(0.1)  # seldom: to ask costs what is measured; the times are the database's


def drain(url: str, count: int) -> None:
    db = installed(url)
    spawned(db, count)
    running = workers(url, PROCESSES)
    try:
        completed(db, count)
    finally:
        for worker in running:
            worker.kill()
            worker.wait()
    first, last, steps = db.execute(
        "SELECT min(updated_at), (SELECT max(completed_at) FROM absurd.r_bench), count(*)"
        " FROM absurd.c_bench"
    ).fetchone()
    assert steps == count * 3, steps
    say(steps_per_second=steps / (last - first).total_seconds())


def latency(url: str, count: int) -> None:
    db = installed(url)
    running = workers(url, 1)
    client = app(url)
    state = "SELECT state FROM absurd.t_bench WHERE task_id = %s"

    def once() -> None:
        task = client.spawn("noop3", 1)["task_id"]
        while db.execute(state, (task,)).fetchone()[0] != "completed":
            time.sleep(0.0005)  # it has nothing to wait on: so often that it adds next to none

    try:
        for _ in range(20):
            once()
        found = []
        for _ in range(count):
            time.sleep(0.012)  # idle again: its worker polls
            found.append(timed(once))
        say(latencies_ms=found)
    finally:
        for worker in running:
            worker.kill()
            worker.wait()


def start(url: str, count: int) -> None:
    db = installed(url)
    spawned(db, 1000)
    in_bulk = count / spawned(db, count)

    async def one_by_one() -> float:
        clients = [AsyncAbsurd(url, queue_name=QUEUE) for _ in range(4)]
        for client in clients:
            await client.spawn("noop3", 0, queue=QUEUE)

        async def some(client: AsyncAbsurd) -> None:
            for n in range(count // 16):
                await client.spawn("noop3", n, queue=QUEUE)

        begun = time.perf_counter()
        await asyncio.gather(*map(some, clients))
        return count // 16 * 4 / (time.perf_counter() - begun)

    say(starts_per_second=in_bulk, single_starts_per_second=asyncio.run(one_by_one()))


def restart(url: str, count: int) -> None:
    db = installed(url)
    spawned(db, count)
    running = workers(url, PROCESSES)
    try:
        completed(db, count)
    finally:
        for worker in running:
            worker.kill()
            worker.wait()
    ids = [str(row[0]) for row in db.execute("SELECT task_id FROM absurd.t_bench").fetchall()]
    db.execute("UPDATE absurd.t_bench SET state = 'failed'")  # it restarts failed tasks only

    async def main() -> None:
        clients = [AsyncAbsurd(url, queue_name=QUEUE) for _ in range(16)]
        for client in clients:
            await client.list_queues()
        alone = []
        for task in ids[: count // 4]:
            begun = time.perf_counter()
            await clients[0].retry_task(task, spawn_new=True)
            alone.append((time.perf_counter() - begun) * 1000)
        left = iter(ids[count // 4 :])

        async def some(client: AsyncAbsurd) -> None:
            for task in left:
                await client.retry_task(task, spawn_new=True)

        begun = time.perf_counter()
        await asyncio.gather(*map(some, clients))
        rate = (count - count // 4) / (time.perf_counter() - begun)
        say(latencies_ms=alone, restarts_per_second=rate)

    asyncio.run(main())


if __name__ == "__main__":
    given = arguments()
    globals()[given.command](given.url, given.count)
