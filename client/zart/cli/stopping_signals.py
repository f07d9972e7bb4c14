"""The signals that stop ``zart dev``, also while its event loop stands still."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


def signals_that_stop() -> list[signal.Signals]:
    """Return what ends it: also that its terminal is closed, unless nohup has it go on then."""
    found = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


@contextlib.contextmanager
def raising(error: Exception) -> Iterator[None]:
    """Have these signals raise an error at once: for what does not give the event loop its turn.

    In the main thread only, which alone gets signals; elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise error

    before = {number: signal.signal(number, stop) for number in signals_that_stop()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
