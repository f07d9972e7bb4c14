"""Runs the tests again and again beside busy loops: what rests on a time fails there.

``python tools/under_load.py [--loops 6] [--times 3] [ARGUMENT ...]`` gives the arguments to pytest,
stops at the first run that fails, and ends with its exit code.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time


def loop() -> None:
    """Be busy for as long as whoever began this is there."""
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


def main() -> int:
    """Run the tests; gives the exit code of the run that failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--loops", type=int, default=6, help="busy processes beside the tests")
    parser.add_argument("--times", type=int, default=3, help="runs in a row")
    options, arguments = parser.parse_known_args()
    busy = [multiprocessing.Process(target=loop, daemon=True) for _ in range(options.loops)]
    for process in busy:
        process.start()
    try:
        for number in range(1, options.times + 1):
            begun = time.monotonic()
            command = ["make", "test", f"ARGS={' '.join(arguments)}"]
            code = subprocess.run(command, check=False).returncode
            seconds, load = time.monotonic() - begun, os.getloadavg()[0]
            sys.stderr.write(
                f"run {number} of {options.times} beside {options.loops} busy loops:"
                f" {'failed' if code else 'passed'} after {seconds:.0f} s, load {load:.1f}\n"
            )
            if code:
                return code
    finally:
        for process in busy:
            process.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
