"""Removes finished executions, and operations, that are older than they are kept.

Where nothing is set, this looks once a minute whether something is, and does no more. One server at
a time goes through what has ended, task by task; what it knows of its way, such as how far it has
come, only saves looking. A piece is one transaction that is right whoever else is at work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import NamedTuple

from zart_server.domain.retention import BY_ITSELF, Kept, Removed
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.retention.finding import (
    FINISHED,
    Position,
    find_ended,
    next_positions,
    next_task,
)
from zart_server.store.retention.operations import TABLES, remove_batches, remove_operations
from zart_server.store.retention.passes import set_pass, take_pass
from zart_server.store.retention.records import forget_records, record_removed
from zart_server.store.retention.removing import OPEN_DOOR
from zart_server.store.retention.tasks import read_kept, read_kept_of

_log = logging.getLogger(__name__)
_LOOK_EVERY = 60.0  # seconds until somebody's wish is noticed, on whichever server it was made
_TAKEN = timedelta(minutes=1)  # a server that says nothing for so long is gone
_LEAST_REST, _MOST_REST = 5.0, 600.0  # seconds between two passes
_REST = 20.0  # times as long as the pass looked without removing anything
_MOST, _FEWEST = 500, 20  # executions of each status in a piece
_LONG = 0.25  # seconds that a piece may take; then the next is a smaller one
# The share of the time that is spent on it: more, the later it is, so that it keeps pace with what
# ends; never so much that dispatchers go short of a database.
_LEAST_SHARE, _MOST_SHARE = 0.05, 0.7
_LATE = 60.0  # seconds: overdue by so much it takes its largest share


class _Due(NamedTuple):
    """What a pass goes by. ``keep`` has the tasks for which something else is set."""

    now: datetime
    kept: Kept
    keep: dict[str, timedelta | None]

    def ended_before(self, task_name: str) -> datetime | None:
        """Return before when an execution of a task has to have ended to go; None: none goes."""
        return self._before(self.keep.get(task_name, self.kept.executions))

    async def read_again(self, tx: Tx, task_name: str) -> datetime | None:
        """Return the same by what is set by now, and for the rest of a transaction."""
        return self._before(await read_kept_of(tx, task_name, self.kept.executions))

    def _before(self, keep: timedelta | None) -> datetime | None:
        return None if keep is None else self.now - keep

    def __bool__(self) -> bool:
        return any((*self.kept, *self.keep.values()))


class Retention(BackgroundLoop):
    """The removal of what has been kept for long enough, as one server does it."""

    def __init__(self, db: Database, kept: Kept) -> None:
        super().__init__("the removal of what has ended", first=0.0)
        self._db = db
        self._kept = kept
        self._limit = _MOST
        self._after = dict.fromkeys(TABLES, 0)

    async def turn(self) -> float:
        """Go through what has ended, if it is this server's turn; return seconds until the next."""
        due = await self._look()
        if not due:
            return _LOOK_EVERY
        async with self._db.autocommit() as connection:
            if not await take_pass(connection, _TAKEN):
                return _LEAST_REST
        begun = time.monotonic()
        removed = await self._go_through(due)
        idle = 0.0 if removed else time.monotonic() - begun
        rest = min(max(_LEAST_REST, idle * _REST), _MOST_REST)
        async with self._db.autocommit() as connection:
            await set_pass(connection, timedelta(seconds=rest))
        return rest

    async def _look(self) -> _Due:
        async with self._db.autocommit() as connection:
            now, keep = await read_kept(connection)
        return _Due(now, self._kept, keep)

    async def _go_through(self, due: _Due) -> bool:
        """Remove what may go; return whether anything was."""
        async with self._db.transaction() as tx:
            await forget_records(tx)
        is_any = False
        async for task_name in self._tasks(due):
            is_any |= await self._remove_executions(task_name, due)
        if due.kept.operations is not None:
            is_any |= await self._remove_operations(due.now - due.kept.operations)
        return is_any

    async def _tasks(self, due: _Due) -> AsyncIterator[str]:
        """Yield the tasks of which something may go."""
        if due.kept.executions is None:
            for task_name in sorted(due.keep):
                yield task_name
            return
        last = ""
        while True:
            async with self._db.autocommit() as connection:
                found = await next_task(connection, last)
            if found is None:
                return
            yield found
            last = found

    async def _remove_executions(self, task_name: str, due: _Due) -> bool:
        after = dict.fromkeys(FINISHED, Position())
        ended_before = due.ended_before(task_name)
        total = 0
        while after and ended_before is not None:
            begun = time.monotonic()
            async with self._db.autocommit() as connection:
                looked = await find_ended(connection, task_name, after, ended_before, self._limit)
                overdue = max((one.overdue for one in looked), default=0.0)
                removed = Removed()
                if overdue > 0:
                    tx = await connection.begin(f"BEGIN;{OPEN_DOOR}")
                    await set_pass(tx, _TAKEN)
                    ended_before = await due.read_again(tx, task_name)
                    if ended_before is None:
                        break
                    removed = await remove_piece(tx, task_name, looked, ended_before, BY_ITSELF)
            total += removed.executions
            after = next_positions(after, looked, self._limit)
            if looked:
                await self._rest(time.monotonic() - begun, overdue)
        if total:
            _log.info("removed %d finished executions of %s", total, task_name)
        return total > 0

    async def _rest(self, took: float, overdue: float) -> None:
        """Leave the database to others for a while, after a piece that took so long."""
        if took > _LONG:
            self._limit = max(_FEWEST, self._limit // 2)
        else:
            self._limit = min(_MOST, self._limit * 2)
        share = min(max(overdue / _LATE * _MOST_SHARE, _LEAST_SHARE), _MOST_SHARE)
        await asyncio.sleep(took * (1 / share - 1))

    async def _remove_operations(self, before: datetime) -> bool:
        total = 0
        for table in TABLES:
            is_more = True
            while is_more:
                begun = time.monotonic()
                async with self._db.transaction(first=OPEN_DOOR) as tx:
                    await set_pass(tx, _TAKEN)
                    after = self._after[table]
                    piece = await remove_operations(tx, table, after, before, _MOST)
                    if piece.removed:
                        gone = Removed(operations=piece.removed)
                        await record_removed(tx, "", BY_ITSELF, gone, before)
                self._after[table], is_more = piece.until, piece.is_more
                total += piece.removed
                await self._rest(time.monotonic() - begun, _LATE)
        while True:
            begun = time.monotonic()
            async with self._db.transaction(first=OPEN_DOOR) as tx:
                await set_pass(tx, _TAKEN)
                is_more = await remove_batches(tx, before, _MOST)
            if not is_more:
                break
            await self._rest(time.monotonic() - begun, _LATE)
        if total:
            _log.info("removed %d operations", total)
        return total > 0
