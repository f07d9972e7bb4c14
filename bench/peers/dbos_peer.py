"""DBOS: a workflow of three steps that do nothing, called directly.

Called directly it is faster than through its queue, in two processes faster than in one, plain
functions in threads faster than coroutines: that is how it drains here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from dbos import DBOS, DBOSClient
from measured import arguments, say, timed

PROCESSES = 2
POOL = 10


@DBOS.step()
def step(n: int) -> int:
    return n


@DBOS.workflow()
def noop3(_n: int) -> int:
    step(1)
    step(2)
    return step(3)


@contextlib.contextmanager
def launched(url: str):
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url.replace("postgresql://", "postgresql+psycopg://"),
            "sys_db_pool_size": POOL,
            "log_level": "ERROR",
            "application_version": "1",
            "executor_id": str(os.getpid()),
        }
    )
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


def work(url: str, count: int) -> None:
    with launched(url):
        for handle in [DBOS.start_workflow(noop3, n) for n in range(count)]:
            handle.get_result()


def drain(url: str, count: int) -> None:
    with launched(url):
        noop3(0)  # the schema is there, the plans are warm
    command = [sys.executable, __file__, "work", "--url", url, "--count", str(count // PROCESSES)]
    with psycopg.connect(url) as db:
        (before,) = db.execute("SELECT count(*) FROM dbos.operation_outputs").fetchone()
    workers = [subprocess.Popen(command) for _ in range(PROCESSES)]
    for worker in workers:
        if worker.wait():
            raise SystemExit("a worker failed")
    with psycopg.connect(url) as db:
        first, last, steps = db.execute(
            "SELECT min(completed_at_epoch_ms), max(completed_at_epoch_ms), count(*) FROM"
            " (SELECT * FROM dbos.operation_outputs ORDER BY completed_at_epoch_ms OFFSET %s)",
            (before,),
        ).fetchone()
    assert steps == count // PROCESSES * PROCESSES * 3, steps
    say(steps_per_second=steps / (last - first) * 1000)


def latency(url: str, count: int) -> None:
    with launched(url):
        for n in range(20):
            noop3(n)
        say(latencies_ms=[timed(lambda n=n: noop3(n)) for n in range(count)])


def start(url: str, count: int) -> None:
    with launched(url):
        DBOS.register_queue("starts", worker_concurrency=1, polling_interval_sec=60)
        client = DBOSClient(
            system_database_url=url.replace("postgresql://", "postgresql+psycopg://")
        )
        options = {"workflow_name": noop3.__qualname__, "queue_name": "starts"}
        client.enqueue(options, 0)
        with ThreadPoolExecutor(8) as threads:
            begun = time.perf_counter()
            list(threads.map(lambda n: client.enqueue(options, n), range(count)))
            say(starts_per_second=count / (time.perf_counter() - begun))
        client.destroy()


def restart(url: str, count: int) -> None:
    with launched(url):
        handles = [DBOS.start_workflow(noop3, n) for n in range(count)]
        for handle in handles:
            handle.get_result()
        ids = [handle.workflow_id for handle in handles]
        DBOS.register_queue("forks", worker_concurrency=1, polling_interval_sec=60)

        def fork(of: str) -> None:
            DBOS.fork_workflow(of, 1, queue_name="forks")

        alone = [timed(lambda of=of: fork(of)) for of in ids[: count // 4]]
        with ThreadPoolExecutor(16) as threads:
            begun = time.perf_counter()
            list(threads.map(fork, ids[count // 4 :]))
            rate = (count - count // 4) / (time.perf_counter() - begun)
        say(latencies_ms=alone, restarts_per_second=rate)


if __name__ == "__main__":
    given = arguments()
    globals()[given.command](given.url, given.count)
