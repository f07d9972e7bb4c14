"""SIGHUP: read anew what may have changed; or the terminal is closed at which one was started."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable

_INPUT = 0  # the number of standard input
_IS_IGNORED = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup, before anybody takes it


def heed_hangups(
    stop: Callable[[], object],
    reread: Callable[[], object],
    come: Callable[[int], object] | None = None,
) -> None:
    """Have SIGHUP call ``reread`` in this loop, or ``stop`` where the terminal is closed.

    Nobody sees any more what goes on in it. Services, what nohup began, and what began in the
    background of a shell, are not at a terminal. ``come`` is called besides where it is to stop,
    as the signal comes: also while something holds the loop up.
    """
    had_terminal = not _IS_IGNORED and _is_at_terminal()

    def is_closed() -> bool:
        return had_terminal and not os.isatty(_INPUT)

    def hung_up() -> None:
        (stop if is_closed() else reread)()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
    if come is not None:
        # In place of a handler of the loop's that does nothing: by itself the loop is told, too.
        signal.signal(signal.SIGHUP, lambda number, _: come(number) if is_closed() else None)


@functools.cache  # as it is begun: by the second time the terminal may be closed
def _is_at_terminal() -> bool:
    try:
        return os.isatty(_INPUT) and os.tcgetpgrp(_INPUT) == os.getpgrp()
    except OSError:  # it is another session's
        return False
