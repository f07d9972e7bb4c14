"""Where the time of a drain goes: ``python -m bench.profile [server|dispatcher|postgres] ...``.

The server and the dispatcher run under cProfile, which makes them slower but tells what is called
how often; ``perf`` samples PostgreSQL's processes, where it is installed and allowed. Beside it
stands what `drain` measures without any of them: µs of CPU a step.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pstats
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

from bench.drain import CONCURRENCY, STEPS, draining
from bench.product import ROOT, Product, finished, product, registered, started
from bench.run import say

WHAT = ("none", "server", "dispatcher", "postgres")
_TOP = 45

_Where: TypeAlias = tuple[str, int, str]  # file, line, function
_Numbers: TypeAlias = tuple[int, int, float, float, object]  # calls, own and total seconds


def main() -> None:
    """Profile a drain for each that is named, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile")
    parser.add_argument("what", nargs="*", default=WHAT, metavar="|".join(WHAT))
    parser.add_argument("--executions", type=int, default=10_000)
    given = parser.parse_args()
    for what in given.what:
        say(f"== {what}")
        asyncio.run(profiled(what, given.executions))


async def profiled(what: str, executions: int) -> None:
    """Drain once and print what one of the processes did meanwhile."""
    with product() as made:
        stats = made.folder / "stats"
        profiler = ("-m", "cProfile", "-o", str(stats))
        made.serve(python=profiler if what == "server" else ())
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            perf = _perf(made) if what == "postgres" else None
            async with draining(made, executions * STEPS) as drained:
                made.dispatch(CONCURRENCY, python=profiler if what == "dispatcher" else ())
                await finished(client)
        say("  ".join(f"{name} {number:,.1f}" for name, number in drained.figures.items()))
        made.stop()  # what is profiled writes its profile when it ends
        if stats.exists():
            _print(stats, executions * STEPS)
        if perf is not None:
            _report(*perf)


def _print(stats: Path, steps: int) -> None:
    """Print the functions with the most time of their own, in µs and calls a step."""
    found = pstats.Stats(str(stats))
    rows = sorted(
        ((own, total, calls, where) for where, (_, calls, own, total, _) in _rows(found)),
        reverse=True,
    )
    everything = sum(row[0] for row in rows)
    say(f"{everything * 1e6 / steps:8.2f} µs a step, in all")
    say("     own    total  calls   (µs, µs and calls a step)")
    for own, total, calls, (file, line, name) in rows[:_TOP]:
        place = "" if file == "~" else f"{_short(file)}:{line} "
        times = f"{own * 1e6 / steps:8.2f} {total * 1e6 / steps:8.2f} {calls / steps:6.2f}"
        say(f"{times}   {place}{name}")


def _rows(found: pstats.Stats) -> list[tuple[_Where, _Numbers]]:
    rows: dict[_Where, _Numbers] = vars(found)["stats"]
    return list(rows.items())


def _short(file: str) -> str:
    return file.replace(f"{ROOT}/", "").rpartition("site-packages/")[2]


def _perf(made: Product) -> tuple[subprocess.Popen[bytes], Path] | None:
    """Sample PostgreSQL's processes until they are told to stop."""
    if shutil.which("perf") is None:
        say("perf is not installed")
        return None
    output = made.folder / "perf"
    children = subprocess.run(
        ["pgrep", "-P", str(made.postgres_pid)], capture_output=True, text=True, check=True
    )
    pids = ",".join([str(made.postgres_pid), *children.stdout.split()])  # and whom they fork
    process = subprocess.Popen(
        ["perf", "record", "-q", "-F", "999", "-g", "-p", pids, "-o", str(output)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return process, output


def _report(process: subprocess.Popen[bytes], output: Path) -> None:
    process.terminate()
    process.wait()
    if not output.exists():
        say("perf is not allowed here")
        return
    for options in (("--no-children", "--sort", "symbol"), ("--no-children", "--sort", "dso")):
        done = subprocess.run(
            ["perf", "report", "-i", str(output), "--stdio", "-g", "none", *options],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PAGER": "cat"},
        )
        lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
        sys.stdout.write("\n".join(lines[:_TOP]) + "\n")


if __name__ == "__main__":
    main()
