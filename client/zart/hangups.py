"""SIGHUP: read anew what may have changed; or the terminal is closed at which one was started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

_INPUT = 0  # the number of standard input


def heed_hangups(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], object], reread: Callable[[], object]
) -> None:
    """Have SIGHUP call ``reread``, or ``stop`` where it says that the terminal is closed.

    Nobody sees any more what goes on in it; nohup, and services, have no terminal to begin with.
    """
    had_terminal = os.isatty(_INPUT)

    def hung_up() -> None:
        (stop if had_terminal and not os.isatty(_INPUT) else reread)()

    loop.add_signal_handler(signal.SIGHUP, hung_up)
