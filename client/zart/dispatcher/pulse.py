"""Since when a task is leased, where only its answer says for how long.

An answer is taken to have been on its way for a tenth of a lease at most, however long its call
waited for a task before. It may have come long ago, all the same: whoever looks at answers, the
process or its event loop, stood still, and began with an old lease as if it were new.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from zart.dispatcher import lease_clock


class Pulse:
    """Beats while answers are looked at as they come, and dates leases by that.

    ``in_threads``: gRPC's threads look at them, whatever the event loop is busy with; else the loop
    does, and only its beats count. Its methods may be called from any thread.
    """

    def __init__(self, lease: float, *, in_threads: bool) -> None:
        self.apart = min(1.0, lease / 15)  # seconds between two beats of the loop, or of a thread
        self._age = lease / 10
        self._in_threads = in_threads
        most = 2 * math.ceil(self._age / self.apart) + 4  # the loop and a thread may both beat
        self._beats = deque([lease_clock.now()], most)
        self._lock = threading.Lock()

    def beat_in_loop(self) -> None:
        """Note that the event loop runs."""
        with self._lock:
            self._beats.append(lease_clock.now())

    def beat_in_thread(self) -> None:
        """Note that a thread runs, whatever the loop does."""
        if self._in_threads:
            self.beat_in_loop()

    def leased_at(self, asked_at: float, wait: float) -> float:
        """Return since when the tasks of an answer are leased that is looked at now.

        Its call began at ``asked_at``, and waited at the server for so many seconds at most. Only
        seconds in which answers were looked at count as those for which it was on its way: after a
        standstill it may have come as that began, even if there was a beat since.
        """
        with self._lock:
            now, beats = lease_clock.now(), tuple(self._beats)
        if now > asked_at + wait + self._age:
            return asked_at  # nobody knows what held it up, nor for how long
        left, until = self._age, now
        for beat in reversed(beats):
            gap = until - beat
            # Twice as much is a standstill, which may have begun with that beat.
            lived = min(gap, self.apart) if gap <= 2 * self.apart else 0.0
            if lived >= left:
                return max(asked_at, beat + lived - left)
            left -= lived
            until = beat
        return asked_at
