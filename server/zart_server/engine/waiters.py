"""LeaseTasks calls that wait for a task, in the order they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zart_server.domain.commands import LeaseTasks


@dataclass(eq=False, slots=True)
class Waiter:
    """A call that waits for tasks of certain lanes."""

    task_names: frozenset[str]
    handlers: frozenset[str]
    wants: int
    gone: asyncio.Event | None = None  # set when its caller is gone
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, task_name: str, handler: str) -> bool:
        """Tell whether it asked for this lane."""
        return task_name in self.task_names and (not self.handlers or handler in self.handlers)


class Waiters:
    """Wakes as many waiting calls as were told of tasks: oldest first, not all for one task."""

    def __init__(self) -> None:
        self._waiting: dict[Waiter, None] = {}

    @contextlib.contextmanager
    def register(self, command: LeaseTasks, gone: asyncio.Event | None = None) -> Iterator[Waiter]:
        """Wait in line while this is open; entered before the first look, no wake-up is missed."""
        waiter = Waiter(
            frozenset(command.task_names), frozenset(command.handlers), command.max_tasks, gone
        )
        self._waiting[waiter] = None
        try:
            yield waiter
        finally:
            self._waiting.pop(waiter, None)

    def requeue(self, waiter: Waiter) -> None:
        """Take a woken call that found nothing back into the line, at its end."""
        waiter.event.clear()
        self._waiting[waiter] = None

    def wake(self, lanes: Mapping[tuple[str, str], int]) -> None:
        """Wake the calls waiting longest that can take what was queued, by (task, handler)."""
        for (task_name, handler), count in lanes.items():
            left = count
            for waiter in [w for w in self._waiting if w.takes(task_name, handler)]:
                if left <= 0:
                    break
                left -= waiter.wants
                del self._waiting[waiter]
                waiter.event.set()

    def drop_gone(self) -> None:
        """Wake the calls whose caller is gone, so that they end."""
        for waiter in [w for w in self._waiting if w.gone is not None and w.gone.is_set()]:
            del self._waiting[waiter]
            waiter.event.set()

    def wake_all(self) -> None:
        """Wake every call, for a server that stops."""
        for waiter in self._waiting:
            waiter.event.set()
        self._waiting.clear()

    def task_names(self) -> set[str]:
        """Give the tasks that somebody waits for."""
        return {name for waiter in self._waiting for name in waiter.task_names}
