"""What watches cost whoever they watch: a drain beside none, 500 and 2,000 of them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.drain import CONCURRENCY, STEPS, draining
from bench.product import ROOT, product, registered, started
from bench.product import finished as all_finished
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least
from bench.watching import WATCHING

TITLE = "a drain whose executions are watched"
COLUMNS = {
    "steps_per_second": "steps/s",
    "server_us_per_step": "server, µs CPU a step",
    "dispatcher_us_per_step": "dispatcher, µs",
    "postgres_us_per_step": "PostgreSQL, µs",
    "messages": "messages a watch",
}
PLOT = ("steps_per_second", "steps per second")
_NAMES = ("no watches", "500 watches", "2,000 watches")
_TOLD_WITHIN = 60.0  # seconds


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Drain beside so many watches in turn, several times round."""
    executions = run.size(30_000, 600)
    for _ in run.times(5):
        for name, watches in zip(_NAMES, (0, run.size(500, 20), run.size(2000, 60)), strict=True):
            told(series, name, **await _drained(executions, watches))
    return {"executions": executions, "concurrency": CONCURRENCY}


def targets(series: Series) -> list[Target]:
    """Issue 11, point 2."""
    rate = "steps_per_second"
    return [
        at_least(0.9, f"drain beside {name}", series.ratio((name, rate), (_NAMES[0], rate)))
        for name in _NAMES[1:]
    ]


async def _drained(executions: int, watches: int) -> dict[str, float]:
    """Queue executions in an empty system, watch some all over, and drain them."""
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            names = [f"noop3-{n * executions // watches}" for n in range(watches)]
            async with (
                _watching(made.address, names) as watching,
                draining(made, executions * STEPS) as drained,
            ):
                made.dispatch(CONCURRENCY)
                await all_finished(client)
            return {**drained.figures, "messages": watching.messages / max(watches, 1)}


@dataclass
class _Watching:
    """The messages that watches were told, once their context is left."""

    messages: int = 0


@contextlib.asynccontextmanager
async def _watching(address: str, names: list[str]) -> AsyncIterator[_Watching]:
    """Watch executions, from their first message until each has ended; counts what is told."""
    watching = _Watching()
    if not names:
        yield watching
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.watching", address,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("\n".join(names).encode())
        process.stdin.close()
        async with asyncio.timeout(_TOLD_WITHIN):
            if (await process.stdout.readline()).decode().strip() != WATCHING:
                raise RuntimeError("a watch has failed")
        yield watching
        async with asyncio.timeout(_TOLD_WITHIN):
            watching.messages = int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
