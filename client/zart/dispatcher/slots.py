"""The slots in which handlers run, and the tasks that wait for one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from zart.dispatcher.held import Held
from zart.dispatcher.pace import Pace
from zart.dispatcher.time_limits import TimeLimits

_log = logging.getLogger(__name__)


class Slots:
    """Runs ``attempt`` for held tasks in order, ``concurrency`` at once, each in a task of its own.

    ``freed`` is called when one has ended and its slot is free or taken by the next, ``pace``
    follows that.
    """

    def __init__(
        self,
        concurrency: int,
        attempt: Callable[[Held], Awaitable[None]],
        freed: Callable[[], None],
        pace: Pace,
    ) -> None:
        self._concurrency = concurrency
        self._attempt = attempt
        self._freed = freed
        self._pace = pace
        self._waiting: deque[Held] = deque()
        self._running: set[Held] = set()
        self._limits = TimeLimits(self._running)

    def __len__(self) -> int:
        """How many run or wait."""
        return len(self._running) + len(self._waiting)

    def add(self, tasks: Iterable[Held]) -> None:
        """Run tasks as soon as slots are free."""
        self._waiting.extend(tasks)
        self._pace.busy(asyncio.get_running_loop().time())
        while self._waiting and len(self._running) < self._concurrency:
            self._start(self._waiting.popleft())

    def give_back(self, which: Iterable[Held] | None = None) -> list[Held]:
        """Return those that have not begun, of ``which`` or all."""
        wanted = set(self._waiting if which is None else which)
        given = [held for held in self._waiting if held in wanted]
        if given:
            self._waiting = deque(held for held in self._waiting if held not in wanted)
        return given

    async def wait(self, timeout: float) -> None:
        """Wait until nothing runs any more, or the time is up."""
        if self._running:
            _log.info("%d steps have %g s to finish", len(self._running), timeout)
            await asyncio.wait(
                [held.running for held in self._running if held.running], timeout=timeout
            )

    def stop(self) -> None:
        """Begin no more, watch no more."""
        self._waiting.clear()
        self._limits.stop()

    def _start(self, held: Held) -> None:
        self._running.add(held)
        self._limits.watch(held)
        held.running = asyncio.get_running_loop().create_task(self._occupy(held))

    async def _occupy(self, held: Held) -> None:
        try:
            held.begun = True
            await self._attempt(held)
        finally:
            # No callback of the task: that would cost a turn of the loop for each step.
            self._running.discard(held)
            self._pace.one_ended()
            if self._waiting:
                self._start(self._waiting.popleft())
            elif not self._running:
                self._pace.idle(asyncio.get_running_loop().time())
            self._freed()
