"""Threads in which streams are read for plain code: one for each, which the next one may have.

To start one for each stream would be a good part of what a short run costs its caller.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

_Work: TypeAlias = Callable[[], object]

_MOST_IDLE = 8
_PATIENCE = 10.0  # seconds that one waits for another stream
# Their queues, from which whoever needs one takes it. Of a forked process none is there.
_idle: list[queue.SimpleQueue[_Work]] = []
os.register_at_fork(after_in_child=_idle.clear)


def call_in_thread(work: _Work) -> None:
    """Call what reads a stream, in a thread that holds up no end of the process.

    Raises RuntimeError where none can be started, as at the process's limit.
    """
    try:
        given = _idle.pop()
    except IndexError:
        given = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(given,), name="zart-messages", daemon=True).start()
    given.put(work)


def _serve(given: queue.SimpleQueue[_Work]) -> None:
    while True:
        try:
            work = given.get(timeout=_PATIENCE)
        except queue.Empty:
            if _is_left(given):
                return
            continue
        work()
        del work  # else it stayed as long as this waits
        if len(_idle) >= _MOST_IDLE:
            return
        _idle.append(given)


def _is_left(given: queue.SimpleQueue[_Work]) -> bool:
    """Return whether nobody has taken it, and have nobody take it any more."""
    try:
        _idle.remove(given)
    except ValueError:  # just now
        return False
    return True
