"""What an idle system answers, and what idling costs."""

from __future__ import annotations

import asyncio
import time

import zart
from bench import peer
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_most

TITLE = "milliseconds from the start of an execution to the message of its end, three steps, idle"
COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "server_percent": "server, % of a core",
    "dispatchers_percent": "dispatchers together, %",
    "queries_per_second": "queries/s",
}
RATIO = ("zart", "p50_ms")
PLOT = ("p50_ms", "p50 in ms, one execution at a time")
WATCHED = "zart, StartExecution and WatchExecution"
IDLE = "zart, idle: 10 dispatchers wait"
_DISPATCHERS = 10


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Ask one at a time, in turn; then let ten dispatchers wait for nothing."""
    executions = run.size(300, 15)
    for _ in run.times(3):
        with product() as made:
            made.serve()
            made.dispatch(16)
            ran, watched = await _latencies(made, executions)
        told(series, "zart", **p50_p99(ran))
        told(series, WATCHED, **p50_p99(watched))
        for other in peer.installed("latency") if run.peers else []:
            found = await peer.measured(other, "latency", executions)
            told(series, other.name, **found)
    # Every statement is written to PostgreSQL's log, and counted there.
    with product("log_statement=all") as made:
        server = made.serve()
        for _ in range(run.size(_DISPATCHERS, 1)):
            made.dispatch(16)
        async with made.client() as client:
            await registered(client)
            await asyncio.sleep(run.size(8, 2))  # all of them have started and settled
            seconds = run.size(20, 2)
            before, queries = server.cpu, _statements(made)
            waiting = sum(d.cpu for d in made.dispatchers)
            await asyncio.sleep(seconds)
        told(
            series,
            IDLE,
            server_percent=100 * (server.cpu - before) / seconds,
            dispatchers_percent=100 * (sum(d.cpu for d in made.dispatchers) - waiting) / seconds,
            queries_per_second=(_statements(made) - queries) / seconds,
        )
    return {"executions a round": executions, "idle seconds": seconds}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 4, and the first of issue 16."""
    mine = series.numbers["zart"]
    idle = series.numbers[IDLE]
    found = [
        at_most(15, "p99 of three steps, idle", mine["p99_ms"], "ms"),
        at_most(2, "server with ten idle dispatchers", idle["server_percent"], "% of a core"),
        at_most(10, "its queries", idle["queries_per_second"], "/s"),
    ]
    for name in ("p50", "p99") if series.has(peer.RESTATE.name, "p50_ms") else ():
        ratio = series.ratio(("zart", f"{name}_ms"), (peer.RESTATE.name, f"{name}_ms"))
        found.append(at_most(1, f"{name} of three steps, idle, against Restate", ratio))
    return found


async def _latencies(made: Product, count: int) -> tuple[list[float], list[float]]:
    """Ask one at a time, by one call that starts and follows, and by two, in turn."""
    ran, watched = [], []
    async with made.client() as client:
        await registered(client)
        for n in range(count + 20):
            begun = time.perf_counter()
            await client.run("noop3", execution_id=f"noop3-ran-{n}", timeout=20)
            then = time.perf_counter()
            handle = await client.start("noop3", execution_id=f"noop3-{n}")
            run = await handle.run(timeout=20)
            ran.append((then - begun) * 1000)
            watched.append((time.perf_counter() - then) * 1000)
            if run.status is not zart.RunStatus.COMPLETED:
                raise RuntimeError(f"noop3-{n} ended {run.status}")
    return ran[20:], watched[20:]  # the first ones warm it up


def _statements(made: Product) -> int:
    """Count what PostgreSQL was asked."""
    log = (made.folder / "postgres" / "log").read_text(errors="replace")
    return sum("LOG:  statement:" in line or "LOG:  execute" in line for line in log.splitlines())
