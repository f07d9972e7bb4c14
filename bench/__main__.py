"""``python -m bench [NAME ...] [--quick] [--rounds N] [--no-peers]``: measure and write it down."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

from bench import page
from bench.run import Run, performed, say

MEASUREMENTS = (
    "drain",
    "flat",
    "start",
    "callers",
    "latency",
    "admin",
    "pause",
    "release",
    "retention",
    "beside",
    "many",
    "bursts",
    "wide",
    "lanes",
    "snapshot",
    "lists",
    "filters",
    "deaths",
    "batch",
    "watchers",
    "mixed",
    "soak",
)

_AT_ONCE = 3  # quick measurements, which wait for most of their time


def main() -> int:
    """Run the measurements that are named, or all of them; then refresh the page."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="only prove that all of it runs")
    parser.add_argument("--rounds", type=int, help="instead of each measurement's own number")
    parser.add_argument("--no-peers", action="store_true", help="the product and the limits only")
    page_or_not = parser.add_mutually_exclusive_group()
    page_or_not.add_argument("--page", action="store_true", help="measure nothing, write the page")
    page_or_not.add_argument("--no-page", action="store_true", help="measure, and write no page")
    given = parser.parse_args()
    unknown = set(given.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement is named {', '.join(sorted(unknown))}")
    run = Run(given.quick, given.rounds, not given.no_peers)
    names = given.names or MEASUREMENTS
    if given.quick and not given.page and len(names) > 1:
        options = [one for one in sys.argv[1:] if one not in names]
        if not _do_all_run(names, options):
            return 1
    elif not given.page:
        for name in names:
            asyncio.run(performed(measurement(name), run))
    if given.no_page:
        return 0
    say(f"written: {page.written(run, [measurement(name) for name in MEASUREMENTS])}")
    return 0


def _do_all_run(names: Sequence[str], options: Sequence[str]) -> bool:
    """Prove of each measurement that it runs, two at a time: their figures are for nobody."""

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", name, *options, "--no-page"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        say(done.stdout)
        return done

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(run, names))
    failed = [name for name, one in zip(names, done, strict=True) if one.returncode]
    if failed:
        say(f"these do not run: {', '.join(failed)}")
    return not failed


def measurement(name: str) -> ModuleType:
    """Return the module that measures it."""
    return importlib.import_module(f"bench.{name}")


if __name__ == "__main__":
    sys.exit(main())
