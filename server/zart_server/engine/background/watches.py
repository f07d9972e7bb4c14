"""Watches: streams of what changes in an execution.

All watches of a server have one reader. It reads changed executions, many in one statement: at once
if an operator changed or a run ended, else after a short wait for more. Reading takes a small share
of the time, however many executions are watched (``hints``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextvars import Context

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import (
    OperationTimeout,
    ShuttingDown,
    StoreConflict,
    StoreUnavailable,
    ZartError,
)
from zart_server.engine.background.followed import Followed, WatchUpdate
from zart_server.engine.background.hints import Hints
from zart_server.engine.background.slow_reads import SlowReads
from zart_server.engine.dispatch.yielding import yield_to_others
from zart_server.store.db import Database
from zart_server.store.reads.executions import get_executions
from zart_server.store.reads.watched import run_digests

_TELL = 16  # executions whose watches are woken at a time
_DIGESTS = 500  # runs
# Seconds between two messages of a watch. Callers are promised 15, at their end of the way.
_LONGEST = 14.0
_LATE = (OperationTimeout, StoreConflict)  # what a read ends with that waited, or took too long
_TRIED = 2  # executions, after a read of several that ended so


class Watches:
    """All watches of one server: hinted at by its own commits and by notifications.

    Nobody waits for a message for longer than ``longest``, in seconds.
    """

    def __init__(self, db: Database, longest: float = _LONGEST) -> None:
        self._db = db
        self._longest = longest
        self._followed: dict[tuple[str, int | None], Followed] = {}
        self._by_run: dict[int, set[Followed]] = {}
        self._hints = Hints()
        self._slow = SlowReads()
        # The runs that changed during the read under way, and which of them are urgent.
        self._heard: list[tuple[Collection[int], Collection[int]]] = []
        self._is_reading = False
        self._stopping = False
        self._reader: asyncio.Task[None] | None = None
        self.on_first: Callable[[], None] = lambda: None

    async def watch(self, execution_id: str, run_number: int | None) -> AsyncGenerator[WatchUpdate]:
        """Yield the whole state first, then what changed, until the watched run is finished.

        Where nothing does for a while, that is told, too: callers see that the watch lives.
        Without ``run_number`` it goes over to the next run after a restart or rerun. Raises
        ExecutionNotFound, RunNotFound, the error of a failed read, or ShuttingDown when this server
        stops.
        """
        followed = self._join(execution_id, run_number)
        clock = asyncio.get_running_loop().time
        try:
            first = followed.reads_begun + 1  # the first read that begins after now
            self._hints.add(followed, at_once=True)
            known: int | None = None
            until: float | None = None
            while True:
                while followed.reads_done < first or followed.version == known:
                    if until is not None and clock() >= until:
                        break  # since then nothing has changed
                    await self._next_change(followed, first, until)
                if self._stopping and known is not None:
                    raise ShuttingDown
                update = followed.since(known)
                known = update.version
                yield update
                if update.is_last:
                    return
                until = clock() + self._longest
        finally:
            self._leave(followed)

    async def _next_change(self, followed: Followed, first: int, until: float | None) -> None:
        """Wait for a change, or until then.

        Raises what a read failed with, if that was the ``first`` or later.
        """
        if followed.failed < first and not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await followed.changed.wait()
        if followed.error is not None and followed.failed >= first:
            raise followed.error.with_traceback(None)
        if self._stopping:
            raise ShuttingDown

    def _join(self, execution_id: str, run_number: int | None) -> Followed:
        is_first = not self
        wanted = (execution_id, run_number)
        followed = self._followed.get(wanted)
        if followed is None:
            followed = self._followed[wanted] = Followed(*wanted)
        followed.watches += 1
        if is_first:
            self.on_first()
        if self._reader is None or self._reader.done():
            # Within no trace: it would be that of who watched first, whoever it reads for.
            self._reader = asyncio.create_task(self._read_all(), name="watches", context=Context())
        return followed

    def _leave(self, followed: Followed) -> None:
        followed.watches -= 1
        if not followed.watches:
            if self._followed.get(followed.wanted) is followed:
                del self._followed[followed.wanted]
            self._forget_run(followed)
            self._hints.drop(followed)
            if not self:  # the reader is to end
                self._hints.wake()

    def _forget_run(self, followed: Followed) -> None:
        if followed.view is not None:
            found = self._by_run.get(followed.view.run_key, set())
            found.discard(followed)
            if not found:
                self._by_run.pop(followed.view.run_key, None)

    def __bool__(self) -> bool:
        return bool(self._followed)

    def changed(self, run_keys: set[int], at_once: Collection[int] = ()) -> None:
        """Have these runs read again, if they are watched. ``at_once``: those that are urgent."""
        if not self:
            return
        if self._is_reading:
            self._heard.append((run_keys, at_once))
        for key in self._by_run.keys() & run_keys:  # most runs of a busy server nobody watches
            for followed in self._by_run[key]:
                self._hints.add(followed, at_once=key in at_once)

    def changed_all(self) -> None:
        """Have all watched executions read again: hints were lost, or pause rules have changed."""
        for followed in self._followed.values():
            self._hints.add(followed, at_once=False)

    async def poll(self) -> None:
        """Find changes without a hint, for many watches in one statement."""
        keys = list(self._by_run)
        for begin in range(0, len(keys), _DIGESTS):
            wanted = keys[begin : begin + _DIGESTS]
            async with self._db.autocommit() as connection:
                digests = await run_digests(connection, wanted)
            for key in wanted:
                digest = digests.get(key, "")  # a run that was removed has none
                for followed in self._by_run.get(key, ()):
                    if not digest or followed.digest != digest:
                        self._hints.add(followed, at_once=False)
                    followed.digest = digest

    def stop(self) -> None:
        """End all watches; their callers watch again on another server."""
        self._stopping = True
        for followed in self._followed.values():
            followed.wake()
        self._hints.wake()

    async def _read_all(self) -> None:
        """Read the executions that are hinted at, as long as any is watched."""
        clock = asyncio.get_running_loop().time
        while self._followed and not self._stopping:
            await self._hints.wait()
            begun = clock()
            if urgent := self._hints.take_urgent():
                await self._read_some(urgent)
                self._hints.urgent_were_read(begun, len(self._followed))
            elif others := self._hints.take_others():
                await self._read_some(others)
                self._hints.others_were_read(begun)

    async def _read_some(self, batch: Sequence[Followed]) -> None:
        """Read executions together, but those that took too long alone, if any may be read now.

        Who watches one that may not is told at once what they would be told after the read.
        """
        slow = [followed for followed in batch if followed.wanted in self._slow]
        if len(slow) < len(batch):
            await self._read([followed for followed in batch if followed not in slow])
        # The one that waits for the longest is first: else a rest would always be before its turn.
        for followed in sorted(slow, key=lambda each: self._slow.late_at(each.wanted)):
            if not followed.watches:
                continue  # who watched it left during the reads before
            if self._slow.may_read:
                await self._read([followed])
            else:
                followed.reads_begun += 1
                followed.fail(OperationTimeout())

    async def _read(self, batch: Sequence[Followed]) -> None:
        await yield_to_others()
        self._heard.clear()
        self._is_reading = True
        try:
            await self._read_and_tell(batch)
        finally:
            self._is_reading = False

    async def _read_and_tell(self, batch: Sequence[Followed]) -> None:
        for followed in batch:
            followed.reads_begun += 1
        wanted = [followed.wanted for followed in batch]
        # What was never compared yet is known from this read on, not only from the next poll.
        undigested = {index for index, followed in enumerate(batch) if not followed.digest}
        begun = asyncio.get_running_loop().time()
        try:
            async with self._db.autocommit() as connection:
                views = await get_executions(connection, wanted, undigested)
        except Exception as error:  # noqa: BLE001 - the watches raise it
            if isinstance(error, OperationTimeout):
                self._slow.timed_out(wanted, begun)
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                await self._read_one_by_one(batch)
                return
            for followed in batch:
                followed.fail(error)
            return
        self._slow.were_read(wanted)
        for number, (followed, view) in enumerate(zip(batch, views, strict=True), 1):
            try:
                self._tell(followed, view)
            except Exception as error:  # noqa: BLE001 - its watches raise it, and the others go on
                followed.fail(error)
            if number % _TELL == 0:
                await yield_to_others()

    async def _read_one_by_one(self, batch: Sequence[Followed]) -> None:
        """Read executions of which one cannot be read, or not in time: small ones first.

        Where the first ones come too late it is none of theirs: the others are told that at once.
        If it was theirs, others are the first ones next time.
        """
        ordered = sorted(batch, key=lambda each: (self._slow.late_at(each.wanted), each.size))
        late, is_any_read = 0, False
        for number, followed in enumerate(ordered, 1):
            if not followed.watches:
                continue
            followed.reads_begun -= 1
            await self._read([followed])
            if followed.failed < followed.reads_begun or not isinstance(followed.error, _LATE):
                is_any_read = True
                continue
            late += 1
            if late == _TRIED and not is_any_read:
                for other in ordered[number:]:
                    other.fail(followed.error)
                return

    def _tell(self, followed: Followed, view: ExecutionView | ZartError) -> None:
        followed.reads_done = followed.reads_begun
        if isinstance(view, ZartError):
            followed.fail(view)
            return
        self._forget_run(followed)
        followed.take(view)
        if followed.watches:
            self._by_run.setdefault(view.run_key, set()).add(followed)
        for run_keys, at_once in self._heard:
            if view.run_key in run_keys:
                self._hints.add(followed, at_once=view.run_key in at_once)
