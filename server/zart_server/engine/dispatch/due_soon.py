"""Wakes long polls for tasks that were queued with a short delay, as retries are, once it is over.

The server that has queued a task knows when it is due: nobody has to look into the database for it.
A wake-up is a hint only. Maintenance finds what nobody is woken for, as what other servers queued.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from zart_server.engine.dispatch.long_polls import LongPolls

# In a second: tasks that are due in the same one are told together. Backoffs are of tenths of one.
_MOMENTS = 40
# Seconds: a call that looks too early finds nothing. The loop may count whole milliseconds, and the
# clock of the database be a little slower.
_LATER = 0.002
_IN_TIME = 5  # moments from when a task is due: its commit took some of the time


class DueSoon:
    """The tasks of one server that are due in a moment: how many of each lane."""

    def __init__(self, long_polls: LongPolls) -> None:
        self._long_polls = long_polls
        self._lanes: dict[int, dict[tuple[str, str], int]] = {}  # by moments of the loop's clock
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def add(self, soon: Iterable[tuple[float, tuple[str, str]]]) -> None:
        """Have calls woken for tasks whose transaction has just been committed.

        Of each the delay in seconds, which began before the commit, and its lane: (task, handler).
        """
        loop = asyncio.get_running_loop()
        begun = loop.time() + _LATER
        for delay, lane in soon:
            moment = math.floor((begun + delay) * _MOMENTS) + 1
            if moment not in self._lanes:
                self._lanes[moment] = {}
                self._timers[moment] = loop.call_at(moment / _MOMENTS, self._wake, moment)
            lanes = self._lanes[moment]
            lanes[lane] = lanes.get(lane, 0) + 1

    def tells(self, lane: tuple[str, str], due_in: float) -> bool:
        """Return whether calls are woken for a lane about when a task is due there, in seconds.

        That is no more than a tenth of a second later.
        """
        first = math.floor((asyncio.get_running_loop().time() + due_in) * _MOMENTS)
        return any(lane in self._lanes.get(first + n, ()) for n in range(1, _IN_TIME))

    def stop(self) -> None:
        """Wake nobody from now on."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._lanes.clear()

    def _wake(self, moment: int) -> None:
        del self._timers[moment]
        self._long_polls.wake(self._lanes.pop(moment))
