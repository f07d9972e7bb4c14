"""Stops attempts whose time is up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Set as AbstractSet

from zart.dispatcher.in_hand import InHand

_STANDSTILL = 0.1  # seconds: a timer that comes so late tells of a loop that stood still
_TO_CATCH_UP = 0.1  # seconds that handlers have after that, to take what has come meanwhile


class TimeLimits:
    """Watches running attempts by one timer, for the earliest deadline: one each costs too much.

    Where the loop stood still until after a deadline, what a handler waits for may have come in
    time: it has a moment to take it, and to return, before it is stopped.
    """

    def __init__(self, running: AbstractSet[InHand]) -> None:
        self._running = running
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def begin(self, in_hand: InHand) -> None:
        """Begin the time of an attempt's handler, and stop it at its end if it still runs."""
        in_hand.begin_time(asyncio.get_running_loop().time())
        if in_hand.deadline < self._at:
            self._set(in_hand.deadline)

    def stop(self) -> None:
        """End the timer."""
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._at < _STANDSTILL:
            self._sweep()
        else:
            self._timer = loop.call_later(_TO_CATCH_UP, self._sweep)

    def _sweep(self) -> None:
        # A timer may fire a little early, by the resolution of its clock.
        now = max(self._at, asyncio.get_running_loop().time())
        self._at = math.inf
        for in_hand in self._running:
            if in_hand.deadline <= now and not in_hand.expired:
                in_hand.expire()
        at = min((h.deadline for h in self._running if not h.expired), default=math.inf)
        if at < math.inf:
            self._set(at)
