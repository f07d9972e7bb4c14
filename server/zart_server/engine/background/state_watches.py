"""Watches of what is small and read as a whole, such as a rule with its counts.

All watches of a server have one reader, which reads what is watched again and again, many in one
statement: each second, or at once after a hint, but with a rest after each read. A watch that
begins waits for neither: what it watches is read for it, together with what else begins to be
watched. Of what did not change nobody is told, but for a message now and then, from which callers
see that the watch lives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from zart_server.domain.errors import OperationTimeout, ShuttingDown, StoreUnavailable
from zart_server.store.connection import Connection, Tx

K = TypeVar("K")
S = TypeVar("S")
Read: TypeAlias = Callable[[Sequence[K]], Awaitable[Mapping[K, S | Exception]]]

_EVERY = 1.0  # seconds between two reads without a hint
_REST = 9  # times as long as the read took, at least
_LONGEST_REST = 30.0
_SHORTEST = 0.2  # seconds between two messages of a watch
_LONGEST = 14.0  # callers are promised 15, at their end of the way
_MANY = 200  # are read at a time
_QUICK_READERS = 3  # of what is to be read at once


def _now() -> float:
    return asyncio.get_running_loop().time()


class ReadShare(Protocol):
    """Opens what reads need: watches have no more of the pool than the calls that read.

    A read that waits for too long for its turn raises StoreUnavailable.
    """

    def transaction(self, *, snapshot: bool = False) -> contextlib.AbstractAsyncContextManager[Tx]:
        """Open a transaction; with ``snapshot`` one that sees one moment throughout."""

    def connection(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        """Open a connection for looks that need not agree."""


@dataclass(eq=False, slots=True)
class _Watched(Generic[K, S]):
    """What is watched, and its state as last read."""

    key: K
    watches: int = 0
    reads_begun: int = 0
    reads_done: int = 0
    found: S | Exception | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # another one each time

    def begin(self) -> int:
        """Begin a read, and return its number."""
        self.reads_begun += 1
        return self.reads_begun

    def take(self, number: int, found: S | Exception) -> None:
        """Take what a read has found, unless one that began later is done, and wake the watches."""
        if number > self.reads_done:
            self.reads_done = number
            self.found = found
            self.wake()

    def wake(self) -> None:
        """Have the watches look."""
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()


class StateWatches(Generic[K, S]):
    """All watches of one kind on one server. ``read`` returns the states of keys, or errors.

    Of a key that it leaves out it says ``look_at`` later. An error that it raises is that of all
    keys only if these are one, or the database cannot be reached. Nobody waits for a message for
    longer than ``longest``, in seconds.
    """

    def __init__(self, read: Read[K, S], name: str, longest: float = _LONGEST) -> None:
        self._read = read
        self._name = name
        self._longest = longest
        self._watched: dict[K, _Watched[K, S]] = {}
        self._hinted = asyncio.Event()
        self._stopping = False
        self._reader: asyncio.Task[None] | None = None
        self._at_once: dict[K, _Watched[K, S]] = {}  # to be read
        self._quick_readers: set[asyncio.Task[None]] = set()

    async def watch(self, key: K, is_over: Callable[[S], bool]) -> AsyncGenerator[S]:
        """Yield the state, then each other state, until one of them is the last.

        Raises what ``read`` returns or raises, or ShuttingDown when this server stops.
        """
        watched = self._join(key)
        try:
            first = watched.reads_begun + 1  # the first read that begins after now
            self.look_at(key)
            while watched.reads_done < first:
                await self._next_read(watched)
            while True:
                state = _state_of(watched)
                yield state
                if is_over(state):
                    return
                await self._pause(watched, state)
                if self._stopping:
                    raise ShuttingDown
        finally:
            self._leave(watched)

    def look(self) -> None:
        """Have everything that is watched read again soon: something has changed."""
        self._hinted.set()

    def look_at(self, key: K) -> bool:
        """Have something read at once, if it is watched, and return whether it is.

        Whatever else is being read: but for what is to be read at once in the same moment.
        """
        watched = self._watched.get(key)
        if watched is None:
            return False
        self._at_once[key] = watched
        if len(self._quick_readers) < _QUICK_READERS and not self._stopping:
            reader = self._begin(self._read_at_once(), f"{self._name}: at once")
            self._quick_readers.add(reader)
            reader.add_done_callback(self._quick_readers.discard)
        return True

    def stop(self) -> None:
        """End all watches; their callers watch again on another server."""
        self._stopping = True
        for reader in (self._reader, *self._quick_readers):
            if reader is not None:
                reader.cancel()
        for watched in self._watched.values():
            watched.wake()

    async def _pause(self, watched: _Watched[K, S], told: S) -> None:
        """Wait until there is something to tell, or it is time to tell the same again."""
        begun = _now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(begun + self._longest):
                while watched.found == told and not self._stopping:
                    await watched.changed.wait()
        if not self._stopping:
            await asyncio.sleep(begun + _SHORTEST - _now())

    async def _next_read(self, watched: _Watched[K, S]) -> None:
        if self._stopping:
            raise ShuttingDown
        await watched.changed.wait()

    def _join(self, key: K) -> _Watched[K, S]:
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched(key)
        watched.watches += 1
        if self._reader is None or self._reader.done():
            self._reader = self._begin(self._read_all(), self._name)
        return watched

    def _begin(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Begin a task within no trace: who watches first is not whom it reads for."""
        return asyncio.create_task(work, name=name, context=Context())

    def _leave(self, watched: _Watched[K, S]) -> None:
        watched.watches -= 1
        if not watched.watches:
            del self._watched[watched.key]

    async def _read_at_once(self) -> None:
        """Read what is to be read at once, as long as there is any."""
        while some := list(self._at_once.values())[:_MANY]:
            for watched in some:
                del self._at_once[watched.key]
            await self._read_some(some)

    async def _read_all(self) -> None:
        """Read what is watched, as long as anything is."""
        begun = _now()  # what begins to be watched is read already
        while self._watched and not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(begun + _EVERY):
                    await self._hinted.wait()
            self._hinted.clear()
            begun = _now()
            for at in range(0, len(self._watched), _MANY):
                await self._read_some(list(self._watched.values())[at : at + _MANY])
            await asyncio.sleep(min((_now() - begun) * _REST, _LONGEST_REST))

    async def _read_some(self, some: Sequence[_Watched[K, S]]) -> None:
        numbers = [watched.begin() for watched in some]
        try:
            found: Mapping[K, S | Exception] = await self._read([each.key for each in some])
        except Exception as error:  # noqa: BLE001 - the watches raise it
            # What one waited for in vain, or nobody could have, is not to be waited for once each.
            if len(some) > 1 and not isinstance(error, (StoreUnavailable, OperationTimeout)):
                for watched in some:  # one of them may have failed
                    await self._read_some([watched])
                return
            found = {watched.key: error for watched in some}
        for watched, number in zip(some, numbers, strict=True):
            if watched.key in found:
                watched.take(number, found[watched.key])


def _state_of(watched: _Watched[K, S]) -> S:
    if isinstance(watched.found, Exception):
        raise watched.found.with_traceback(None)
    if watched.found is None:
        raise LookupError("it was not read yet")
    return watched.found
