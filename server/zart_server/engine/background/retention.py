"""Removes finished executions, and operations, that are older than they are kept.

Where nothing is set, this looks once a minute whether something is, and does no more. One server at
a time goes through what has ended, task by task; what it knows of its way, such as how far it has
come, only saves looking. A piece is one transaction that is right whoever else is at work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from zart_server.domain.ended_cursor import EndedCursor
from zart_server.domain.retention import BY_ITSELF, Kept, Removed
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.db import Database
from zart_server.store.retention.operations import TABLES, remove_batches, remove_operations
from zart_server.store.retention.passes import set_pass, take_pass
from zart_server.store.retention.records import forget_records, record_removed
from zart_server.store.retention.removing import OPEN_DOOR
from zart_server.store.retention.tasks import read_kept, read_kept_of

_log = logging.getLogger(__name__)
_LOOK_EVERY = 60.0  # seconds until somebody's wish is noticed, on whichever server it was made
_TAKEN = timedelta(minutes=1)  # a server that says nothing for so long is gone
_LEAST_REST, _MOST_REST = 5.0, 600.0  # seconds between two passes
# Times as long as a pass looked without removing anything, such as at many that stay: so that takes
# a twentieth of a connection's time, and what may go by then is removed a little later.
_REST = 20.0
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

    @property
    def tasks(self) -> Sequence[str] | None:
        """The tasks of which something may go, by name; None: any may."""
        return sorted(self.keep) if self.kept.executions is None else None

    def ended_before(self, task_name: str) -> datetime | None:
        """Return before when an execution of a task has to have ended to go; None: none goes."""
        keep = self.keep.get(task_name, self.kept.executions)
        return None if keep is None else self.now - keep

    async def read_again(self, tx: Tx, task_name: str) -> datetime | None:
        """Return the same by what is set by now, and for the rest of a transaction."""
        self.keep[task_name] = await read_kept_of(tx, task_name, self.kept.executions)
        return self.ended_before(task_name)

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
            cursor = await take_pass(connection, _TAKEN)
        if cursor is None:
            return _LEAST_REST
        idle = await self._go_through(due, cursor)
        rest = min(max(_LEAST_REST, idle * _REST), _MOST_REST)
        async with self._db.autocommit() as connection:
            await set_pass(connection, timedelta(seconds=rest))
        return rest

    async def _look(self) -> _Due:
        async with self._db.autocommit() as connection:
            now, keep = await read_kept(connection)
        return _Due(now, self._kept, keep)

    async def _go_through(self, due: _Due, cursor: EndedCursor) -> float:
        """Remove what may go; return for how many seconds it was looked without removing any."""
        async with self._db.transaction() as tx:
            await forget_records(tx)
        idle = await self._remove_executions(due, EndedWalk(cursor, due.tasks))
        if due.kept.operations is not None:
            await self._remove_operations(due.now - due.kept.operations)
        return idle

    async def _remove_executions(self, due: _Due, walk: EndedWalk) -> float:
        idle = 0.0
        total = 0
        while True:
            begun = time.monotonic()
            async with self._db.autocommit() as connection:
                task_name = await walk.task(connection)
                if task_name is None:
                    break
                overdue, removed = await self._remove_piece(connection, task_name, due, walk)
            total += removed
            took = time.monotonic() - begun
            if not removed:
                idle += took
            if total and not walk.cursor.after:
                _log.info("removed %d finished executions of %s", total, task_name)
                total = 0
            if overdue is not None:
                await self._rest(took, overdue)
        return idle

    async def _remove_piece(
        self, connection: Autocommit, task_name: str, due: _Due, walk: EndedWalk
    ) -> tuple[float | None, int]:
        """Look once more at a task, and remove what may go.

        Return how overdue the oldest was, if any was looked at, and how many were removed.
        """
        ended_before = due.ended_before(task_name)
        if ended_before is None:
            walk.leave_task()
            return None, 0
        looked = await walk.look(connection, ended_before, self._limit)
        if not looked:
            return None, 0
        overdue = max(one.overdue for one in looked)
        if overdue <= 0:
            if walk.cursor.after:  # many stay, so that going past them may take long
                await set_pass(connection, _TAKEN, walk.cursor)
            return overdue, 0
        tx = await connection.begin(f"BEGIN;{OPEN_DOOR}")
        await set_pass(tx, _TAKEN, walk.cursor)
        ended_before = await due.read_again(tx, task_name)
        if ended_before is None:
            walk.leave_task()
            return None, 0
        removed = await remove_piece(tx, task_name, looked, ended_before, BY_ITSELF)
        return overdue, removed.executions

    async def _rest(self, took: float, overdue: float) -> None:
        """Leave the database to others for a while, after a piece that took so long."""
        if took > _LONG:
            self._limit = max(_FEWEST, self._limit // 2)
        else:
            self._limit = min(_MOST, self._limit * 2)
        share = min(max(overdue / _LATE * _MOST_SHARE, _LEAST_SHARE), _MOST_SHARE)
        await asyncio.sleep(took * (1 / share - 1))

    async def _remove_operations(self, before: datetime) -> None:
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
