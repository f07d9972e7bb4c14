"""SIGHUP: read anew what may have changed; or the terminal is closed at which one was started."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable

_INPUT = 0  # the number of standard input
_IS_IGNORED = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup, before anybody takes it


def heed_hangups(stop: Callable[[], object], reread: Callable[[], object]) -> None:
    """Have SIGHUP call ``reread`` in this loop, or ``stop`` where the terminal is closed.

    Nobody sees any more what goes on in it. Services, what nohup began, and what began in the
    background of a shell, are not at a terminal.
    """
    had_terminal = not _IS_IGNORED and _is_at_terminal()

    def hung_up() -> None:
        (stop if had_terminal and not os.isatty(_INPUT) else reread)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


@functools.cache  # as it is begun: by the second time the terminal may be closed
def _is_at_terminal() -> bool:
    try:
        return os.isatty(_INPUT) and os.tcgetpgrp(_INPUT) == os.getpgrp()
    except OSError:  # it is another session's
        return False
