"""``python -m zart.cli.with_parent PARENT_PID ARGUMENT...``: ``zart``, which ends with its parent.

A program asks for this itself, once it runs: between fork and exec nothing of Python's is safe in a
process that has gRPC, whose threads begin anew in the fork.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _main(parent: int, arguments: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        return 0  # it died before the signal was set
    from zart.cli.main import main  # noqa: PLC0415 - what it loads takes a moment

    return main(arguments)


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2:]))
