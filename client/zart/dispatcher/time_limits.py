"""Stops attempts whose time is up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Set as AbstractSet

from zart.dispatcher.held import Held


class TimeLimits:
    """Watches what runs with one timer, set for the earliest deadline: one each costs too much."""

    def __init__(self, running: AbstractSet[Held]) -> None:
        self._running = running
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def watch(self, held: Held) -> None:
        """Stop this one at its deadline if it still runs."""
        if held.deadline < self._at:
            self._set(held.deadline)

    def stop(self) -> None:
        """Watch no more."""
        self._at = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._sweep)

    def _sweep(self) -> None:
        # A timer may come a little early, by what its clock resolves.
        now = max(self._at, asyncio.get_running_loop().time())
        self._at = math.inf
        for held in self._running:
            if held.deadline <= now and not held.expired:
                held.expire()
        left = [held.deadline for held in self._running if not held.expired]
        if left:
            self._set(min(left))
