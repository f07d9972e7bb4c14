"""LeaseTasks calls that wait for a task, in the order they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from zart_server.domain.dispatch import LeasedTask, LeaseNext, LeaseTasks


@dataclass(eq=False, slots=True)
class LongPoll:
    """A call that waits for tasks of certain lanes."""

    lessee: LeaseNext
    gone: asyncio.Event | None = None  # set when its caller is gone
    delivered: list[LeasedTask] = field(default_factory=list)
    unseen: Mapping[tuple[str, str], int] = field(default_factory=dict)  # woken for, until it looks
    # As unseen, by a look that came too early.
    put_off: Mapping[tuple[str, str], int] = field(default_factory=dict)
    _event: asyncio.Event = field(default_factory=asyncio.Event)
    _is_idle: bool = False
    _is_reserved: bool = False

    def takes(self, task_name: str, handler: str) -> bool:
        """Return whether the call asked for this lane."""
        return self.lessee.takes(task_name, handler)

    async def wait(self, seconds: float) -> bool:
        """Wait to be woken or delivered to; False: the time is up, and nobody reserved this."""
        self._is_idle = True
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            if not self._is_reserved:
                return False
            await self._event.wait()  # until a commit
        finally:
            self._is_idle = False
        self._event.clear()
        return True

    def wake(self, lanes: Mapping[tuple[str, str], int] | None = None) -> None:
        """Have the call look for tasks, as so many of these lanes were announced for it."""
        self.unseen = lanes or {}
        self._event.set()

    def begins_to_look(self) -> Mapping[tuple[str, str], int]:
        """Note that the call looks for what it was woken for, and return that."""
        told = in_all(self.put_off, self.unseen)
        self.put_off = self.unseen = {}
        return told

    def reserve(self) -> bool:
        """Reserve this call if it does nothing but wait; ``deliver`` must follow in any case."""
        if self._is_idle and not self._event.is_set():
            self._is_reserved = True
        return self._is_reserved

    def deliver(self, tasks: list[LeasedTask]) -> None:
        """Give the call the tasks leased for it; without any it looks for tasks itself."""
        self._is_reserved = False
        self.delivered = tasks
        self._event.set()


class LongPolls:
    """Wakes as many calls as there are announced tasks: oldest first, not all for one task."""

    def __init__(self) -> None:
        self._waiting: dict[LongPoll, None] = {}

    @contextlib.contextmanager
    def register(
        self, command: LeaseTasks, gone: asyncio.Event | None = None
    ) -> Iterator[LongPoll]:
        """Wait in line while this is open; entered before the first look, no wake-up is missed.

        If the call ends without a look after it was woken, others are woken in its stead.
        """
        task_names, handlers = command.asked or (
            frozenset(command.task_names),
            frozenset(command.handlers),
        )
        lessee = LeaseNext(
            command.dispatcher_id,
            command.principal,
            task_names,
            handlers,
            command.max_tasks,
            command.lease_duration,
        )
        long_poll = LongPoll(lessee, gone)
        self._waiting[long_poll] = None
        try:
            yield long_poll
        finally:
            self._waiting.pop(long_poll, None)
            self.wake(long_poll.begins_to_look())

    def requeue(self, long_poll: LongPoll) -> None:
        """Take a woken call that found nothing back into the line, at its end."""
        self._waiting[long_poll] = None

    def reserve(self, task_name: str, handler: str) -> LongPoll | None:
        """Take the call that waits longest for this lane out of the line, for a delivery."""
        for long_poll in self._waiting:
            if long_poll.takes(task_name, handler) and long_poll.reserve():
                del self._waiting[long_poll]
                return long_poll
        return None

    def asked_for(self, lanes: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those of many lanes that a call waits for, in one pass over the calls."""
        left: dict[str, set[str]] = {}
        for task_name, handler in lanes:
            left.setdefault(task_name, set()).add(handler)
        found = set[tuple[str, str]]()
        for long_poll in self._waiting:
            lessee = long_poll.lessee
            for task_name in [name for name in left if name in lessee.task_names]:
                of_task = left[task_name]
                taken = lessee.handlers & of_task if lessee.handlers else of_task
                found.update((task_name, handler) for handler in taken)
                left[task_name] = of_task - taken if taken else of_task
        return found

    def wake(self, lanes: Mapping[tuple[str, str], int]) -> None:
        """Wake the calls waiting longest that can take what was queued, by (task, handler).

        Each takes as many of all lanes as it may before the next one is woken, as its look does:
        with one lane a call, the first would take all, and the others look in vain.
        """
        # Call by call, not lane by lane: there may be ten thousand that nobody waits for.
        left: dict[str, dict[str, int]] = {}
        for (task_name, handler), count in lanes.items():
            if count > 0:
                left.setdefault(task_name, {})[handler] = count
        for long_poll in [*self._waiting]:
            if not left:
                break
            share = _share(long_poll.lessee, left)
            if not share:
                continue
            for (task_name, handler), count in share.items():
                of_task = left[task_name]
                of_task[handler] -= count
                if not of_task[handler]:
                    del of_task[handler]
                    if not of_task:
                        del left[task_name]
            del self._waiting[long_poll]
            long_poll.wake(share)

    def drop_gone(self) -> None:
        """Wake the calls whose caller is gone, so that they end."""
        for long_poll in [w for w in self._waiting if w.gone is not None and w.gone.is_set()]:
            del self._waiting[long_poll]
            long_poll.wake()

    def wake_all(self) -> None:
        """Wake every call, for a server that stops."""
        for long_poll in self._waiting:
            long_poll.wake()
        self._waiting.clear()

    def task_names(self) -> set[str]:
        """Return the names of the tasks that calls wait for."""
        return {name for long_poll in self._waiting for name in long_poll.lessee.task_names}


def in_all(
    one: Mapping[tuple[str, str], int], other: Mapping[tuple[str, str], int]
) -> Mapping[tuple[str, str], int]:
    """Return how many tasks of each lane were announced in all."""
    if not (one and other):
        return one or other
    return {lane: one.get(lane, 0) + other.get(lane, 0) for lane in {**one, **other}}


def _share(lessee: LeaseNext, lanes: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], int]:
    """Return how many tasks of which lanes a call takes, of those queued by task and handler."""
    share: dict[tuple[str, str], int] = {}
    room = lessee.max_tasks
    for task_name, handlers in lanes.items():
        if task_name not in lessee.task_names:
            continue
        for handler in _asked_for(lessee.handlers, handlers):
            share[task_name, handler] = min(handlers[handler], room)
            room -= share[task_name, handler]
            if not room:
                return share
    return share


def _asked_for(asked: AbstractSet[str], handlers: Mapping[str, int]) -> Iterator[str]:
    """Yield the handlers that a call asks for; looks up the fewer in the others."""
    if not asked:
        yield from handlers
    elif len(asked) < len(handlers):
        yield from (name for name in asked if name in handlers)
    else:
        yield from (name for name in handlers if name in asked)
