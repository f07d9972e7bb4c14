"""SIGHUP: read anew what may have changed; or the terminal is closed at which one was started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

_INPUT = 0  # the number of standard input


def heed_hangups(stop: Callable[[], object], reread: Callable[[], object]) -> None:
    """Have SIGHUP call ``reread`` in this loop, or ``stop`` where the terminal is closed.

    Nobody sees any more what goes on in it; nohup, and services, have no terminal to begin with.
    """
    had_terminal = os.isatty(_INPUT)

    def hung_up() -> None:
        (stop if had_terminal and not os.isatty(_INPUT) else reread)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
