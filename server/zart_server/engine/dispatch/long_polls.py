"""LeaseTasks calls that wait for a task, in the order they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zart_server.domain.commands import LeasedTask, LeaseNext, LeaseTasks


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits for tasks of certain lanes."""

    taker: LeaseNext
    gone: asyncio.Event | None = None  # set when its caller is gone
    handed: list[LeasedTask] = field(default_factory=list)
    _event: asyncio.Event = field(default_factory=asyncio.Event)
    _is_idle: bool = False
    _is_promised: bool = False

    def takes(self, task_name: str, handler: str) -> bool:
        """Return whether it asked for this lane."""
        return self.taker.takes(task_name, handler)

    async def wait(self, seconds: float) -> bool:
        """Wait to be woken or handed something; False: the time is up, and nothing is promised."""
        self._is_idle = True
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            if not self._is_promised:
                return False
            await self._event.wait()  # until a commit
        finally:
            self._is_idle = False
        self._event.clear()
        return True

    def wake(self) -> None:
        """Have it look."""
        self._event.set()

    def promise(self) -> bool:
        """Promise something, if it does nothing but wait; ``hand`` follows in any case."""
        if self._is_idle and not self._event.is_set():
            self._is_promised = True
        return self._is_promised

    def hand(self, tasks: list[LeasedTask]) -> None:
        """Hand what was leased for it; without anything it looks itself."""
        self._is_promised = False
        self.handed = tasks
        self._event.set()


class Waiters:
    """Wakes as many waiting calls as were told of tasks: oldest first, not all for one task."""

    def __init__(self) -> None:
        self._waiting: dict[Waiter, None] = {}

    @contextlib.contextmanager
    def register(self, command: LeaseTasks, gone: asyncio.Event | None = None) -> Iterator[Waiter]:
        """Wait in line while this is open; entered before the first look, no wake-up is missed."""
        taker = LeaseNext(
            command.dispatcher_id,
            command.principal,
            frozenset(command.task_names),
            frozenset(command.handlers),
            command.max_tasks,
            command.lease_duration,
        )
        waiter = Waiter(taker, gone)
        self._waiting[waiter] = None
        try:
            yield waiter
        finally:
            self._waiting.pop(waiter, None)

    def requeue(self, waiter: Waiter) -> None:
        """Take a woken call that found nothing back into the line, at its end."""
        self._waiting[waiter] = None

    def promise(self, task_name: str, handler: str) -> Waiter | None:
        """Take the call out of the line that waits longest for this lane, to be handed a task."""
        for waiter in self._waiting:
            if waiter.takes(task_name, handler) and waiter.promise():
                del self._waiting[waiter]
                return waiter
        return None

    def wake(self, lanes: Mapping[tuple[str, str], int]) -> None:
        """Wake the calls waiting longest that can take what was queued, by (task, handler)."""
        for (task_name, handler), count in lanes.items():
            left = count
            for waiter in [w for w in self._waiting if w.takes(task_name, handler)]:
                if left <= 0:
                    break
                left -= waiter.taker.max_tasks
                del self._waiting[waiter]
                waiter.wake()

    def drop_gone(self) -> None:
        """Wake the calls whose caller is gone, so that they end."""
        for waiter in [w for w in self._waiting if w.gone is not None and w.gone.is_set()]:
            del self._waiting[waiter]
            waiter.wake()

    def wake_all(self) -> None:
        """Wake every call, for a server that stops."""
        for waiter in self._waiting:
            waiter.wake()
        self._waiting.clear()

    def task_names(self) -> set[str]:
        """Return the tasks that somebody waits for."""
        return {name for waiter in self._waiting for name in waiter.taker.task_names}
