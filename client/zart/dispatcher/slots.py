"""The slots in which handlers run, and the tasks that wait for one."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from zart.dispatcher.in_hand import InHand
from zart.dispatcher.log import Log
from zart.dispatcher.pace import Pace
from zart.dispatcher.stopping import CLEAN_UP
from zart.dispatcher.time_limits import TimeLimits

_log = Log(__name__)


class Slots:
    """Runs ``attempt`` for tasks in order, ``concurrency`` at once, each in its own asyncio task.

    Each has a copy of the context variables as they are where the slots are made, so that what a
    handler sets is gone with its attempt.

    An attempt is given what begins its time limit, to be called when its handler is. ``freed`` is
    called when an attempt has ended and the next, if any, has its slot. ``pace`` measures how fast
    attempts end.
    """

    def __init__(
        self,
        concurrency: int,
        attempt: Callable[[InHand, Callable[[InHand], None]], Awaitable[None]],
        freed: Callable[[], None],
        pace: Pace,
    ) -> None:
        self._concurrency = concurrency
        self._attempt = attempt
        self._freed = freed
        self._pace = pace
        self._waiting: deque[InHand] = deque()
        self._running: set[InHand] = set()
        self._limits = TimeLimits(self._running)
        self._context = contextvars.copy_context()

    def __len__(self) -> int:
        """Return how many tasks run or wait for a slot."""
        return len(self._running) + len(self._waiting)

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a slot."""
        return len(self._waiting)

    def add(self, tasks: Iterable[InHand]) -> None:
        """Run tasks as soon as slots are free."""
        self._waiting.extend(tasks)
        self._pace.busy(asyncio.get_running_loop().time())
        while self._waiting and len(self._running) < self._concurrency:
            self._start(self._waiting.popleft())

    def give_back(self, which: Iterable[InHand] | None = None) -> list[InHand]:
        """Remove and return the tasks that have not begun, of ``which`` or of all."""
        wanted = set(self._waiting if which is None else which)
        given = [each for each in self._waiting if each in wanted]
        if given:
            self._waiting = deque(each for each in self._waiting if each not in wanted)
        return given

    async def wait(self, timeout: float) -> None:
        """Wait until no task runs any more, or the timeout has passed."""
        if self._running:
            _log.info("%d steps have %g s to finish", len(self._running), timeout)
            await asyncio.wait(
                [each.running for each in self._running if each.running], timeout=timeout
            )

    async def let_clean_up(self) -> None:
        """Wait until the tasks that are cancelled have ended, for a second at most."""
        running = [each.running for each in self._running if each.running]
        if cancelled := [each for each in running if each.cancelling()]:
            await asyncio.wait(cancelled, timeout=CLEAN_UP)

    def stop(self) -> None:
        """Begin no more tasks, and watch no more time limits."""
        self._waiting.clear()
        self._limits.stop()

    def _start(self, in_hand: InHand) -> None:
        # It begins in a turn of its own, whatever makes the loop's tasks: an eager factory would
        # run it here, within the end of the attempt before it, and the next one within its own end.
        # It has a context of its own, too, or it would have that of the attempt before it.
        in_hand.running = asyncio.Task(
            self._occupy(in_hand), loop=asyncio.get_running_loop(), context=self._context.copy()
        )
        self._running.add(in_hand)

    async def _occupy(self, in_hand: InHand) -> None:
        try:
            in_hand.begun = True
            await self._attempt(in_hand, self._limits.begin)
        finally:
            # Not in a callback of the task: that would cost a turn of the loop for each step.
            self._running.discard(in_hand)
            self._pace.one_ended()
            if self._waiting:
                self._start(self._waiting.popleft())
            elif not self._running:
                self._pace.idle(asyncio.get_running_loop().time())
            self._freed()
