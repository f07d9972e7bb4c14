"""``python -m bench [NAME ...] [--quick] [--rounds N] [--no-peers]``: measure and write it down."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
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


def main() -> int:
    """Run the measurements that are named, or all of them; then refresh the page."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="only prove that all of it runs")
    parser.add_argument("--rounds", type=int, help="instead of each measurement's own number")
    parser.add_argument("--no-peers", action="store_true", help="the product and the limits only")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    unknown = set(given.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement is named {', '.join(sorted(unknown))}")
    run = Run(given.quick, given.rounds, not given.no_peers)
    if not given.page:
        for name in given.names or MEASUREMENTS:
            asyncio.run(performed(measurement(name), run))
    say(f"written: {page.written(run, [measurement(name) for name in MEASUREMENTS])}")
    return 0


def measurement(name: str) -> ModuleType:
    """Return the module that measures it."""
    return importlib.import_module(f"bench.{name}")


if __name__ == "__main__":
    sys.exit(main())
