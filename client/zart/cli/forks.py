"""Processes that steps fork, as ``multiprocessing`` does on Linux: signals are their own there.

By itself a fork has the handlers that its parent took them with. A signal would tell the parent's
event loop, by a socket that both have, and have no effect on the fork: ``Pool.terminate`` would
stop the dispatcher, and wait for ever.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator

_TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # by a dispatcher's process
# What they are in a fork while a dispatcher runs: what they were before it took them. Empty else.
_in_forks: dict[signal.Signals, signal.Handlers] = {}
_of_this_thread = threading.local()


@contextlib.contextmanager
def with_signals_of_their_own() -> Iterator[None]:
    """Have forks take signals as if nobody had taken them here, within this.

    To be entered before they are. What was ignored then, as SIGHUP is by nohup, stays so.
    """
    _hook()
    for each in _TAKEN:
        is_ignored = signal.getsignal(each) is signal.SIG_IGN
        _in_forks[each] = signal.SIG_IGN if is_ignored else signal.SIG_DFL
    try:
        yield
    finally:
        _in_forks.clear()


@functools.cache  # once: hooks stay as long as the process
def _hook() -> None:
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_reset)


def _hold() -> None:
    """Hold signals back while a thread forks: one that comes at once is for the fork alone."""
    _of_this_thread.held_before = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _of_this_thread.held_before)


def _reset() -> None:
    if _in_forks:
        signal.set_wakeup_fd(-1)
        for each, handler in _in_forks.items():
            signal.signal(each, handler)
    _let_go()
