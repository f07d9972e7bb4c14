"""Removes finished executions, and operations, that are older than they are kept.

Where nothing is set, this looks once a minute whether something is, and does no more. One server at
a time goes through what has ended, task by task; what it knows of its way, such as how far it has
come, only saves looking. A piece is one transaction that is right whoever else is at work. One that
takes too long leaves nothing, so a smaller one follows; what does not go even alone, or is not even
found, keeps nothing else from going.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.domain.errors import OperationTimeout, StoreConflict, ZartError
from zart_server.domain.retention import BY_ITSELF, Kept
from zart_server.engine.background import own_clock
from zart_server.engine.background.loop import WAITS, BackgroundLoop
from zart_server.engine.background.old_operations import OldOperations
from zart_server.engine.background.pass_pace import PassPace
from zart_server.engine.background.piece_size import PieceSize, leave_time
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.retention.finding import Looked, execution_id_of
from zart_server.store.retention.passes import TAKEN, set_pass, take_pass
from zart_server.store.retention.records import forget_records
from zart_server.store.retention.removing import ALLOW_PURGE
from zart_server.store.retention.tasks import read_kept, read_kept_of

_log = logging.getLogger(__name__)
_LOOK_EVERY = 60.0  # seconds until somebody's wish is noticed, on whichever server it was made
_ANOTHERS = 5.0  # seconds until it is looked whether another server's pass is over
_HELD_OFF = 20.0  # seconds until the clocks are compared again; the alert on what waits sees it
_TELL_EVERY = 3600.0  # seconds


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


@dataclass(slots=True)
class _Way:
    """Where a pass is. ``looked``: executions of the task that are still to be removed.

    Until the last of these is, whoever goes on after this server begins at ``come_to``; at the
    oldest, once all are gone through.
    """

    walk: EndedWalk
    come_to: EndedCursor
    pace: PassPace
    task_name: str = ""
    looked: Sequence[Looked] = ()
    removed: int = 0  # of the task, and not told yet

    def go_past(self, piece: Sequence[Looked]) -> None:
        """Go past the first that were looked at; tell what was removed at the end of a task."""
        self.looked = self.looked[len(piece) :]
        if self.removed and not self.looked and not self.walk.cursor.after:
            _log.info("removed %d finished executions of %s", self.removed, self.task_name)
            self.removed = 0


class Retention(BackgroundLoop):
    """The removal of what has been kept for long enough, as one server does it."""

    def __init__(self, db: Database, kept: Kept) -> None:
        super().__init__("the removal of what has ended", first=0.0)
        self._db = db
        self._kept = kept
        self._executions = PieceSize()
        self._operations = OldOperations(db)
        self._told_at = -math.inf  # when it was told that a clock is wrong; by time.monotonic

    async def turn(self) -> float:
        """Go through what has ended, if it is this server's turn; return seconds until the next."""
        pace = PassPace(time.monotonic())
        due = await self._due()
        if not due:
            return _LOOK_EVERY
        if own_clock.ahead_by(due.now) > own_clock.SUSPICIOUS:
            self._hold_off(due.now)
            return _HELD_OFF
        async with self._db.autocommit() as connection:
            cursor = await take_pass(connection, TAKEN)
        if cursor is None:
            return _ANOTHERS
        await self._go_through(due, _Way(EndedWalk(cursor, due.tasks), cursor, pace))
        rest = pace.rest(time.monotonic())
        async with self._db.autocommit() as connection:
            await set_pass(connection, timedelta(seconds=rest))
        return rest

    def _hold_off(self, now: datetime) -> None:
        """Count that a pass has to wait, and tell the log why now and then."""
        self.count_as(WAITS)
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._told_at = time.monotonic()
            _log.warning(
                "%s has to wait: the database's clock (%s) is ahead of this server's by %s; set the"
                " one that is wrong",
                self.name,
                now.isoformat(),
                own_clock.ahead_by(now),
            )

    async def _due(self) -> _Due:
        async with self._db.autocommit() as connection:
            now, keep = await read_kept(connection)
        return _Due(now, self._kept, keep)

    async def _go_through(self, due: _Due, way: _Way) -> None:
        """Remove what may go: executions, records, operations and batches."""
        parts: list[Callable[[], Awaitable[None]]] = [
            self._forget_records,
            partial(self._remove_executions, due, way),
            partial(self._keep_place, way),
        ]
        if due.kept.operations is not None:
            parts += self._operations.parts(due.now - due.kept.operations)
        await self.each(parts)

    async def _forget_records(self) -> None:
        async with self._db.transaction() as tx:
            await forget_records(tx)

    async def _remove_executions(self, due: _Due, way: _Way) -> None:
        while await self._look_on(due, way):
            while way.looked:
                await self._remove_piece(due, way)
        way.come_to = FROM_THE_OLDEST

    async def _keep_place(self, way: _Way) -> None:
        """Have the next pass begin where this one came to, also if it ends early from here on."""
        async with self._db.autocommit() as connection:
            await set_pass(connection, TAKEN, way.come_to)

    async def _look_on(self, due: _Due, way: _Way) -> bool:
        """Look for the next that may go; return whether there may be more."""
        begun = time.monotonic()
        looked: Sequence[Looked] = ()
        way.come_to = way.walk.cursor
        try:
            async with self._db.autocommit() as connection:
                task_name = await way.walk.task(connection)
                if task_name is None:
                    return False
                way.task_name = task_name
                ended_before = due.ended_before(task_name)
                if ended_before is None:
                    way.walk.leave_task()
                    return True
                looked = await way.walk.look(connection, ended_before, self._executions.next)
                way.looked = [one for one in looked if one.overdue > 0]
                if looked and not way.looked and way.walk.cursor.after:
                    # Many stay, so that going past them may take long.
                    await set_pass(connection, TAKEN, way.walk.cursor)
        except Exception as error:
            if not self._goes_on_without(way, error):
                raise
        if way.looked:
            return True
        now = time.monotonic()
        way.pace.idle += now - begun
        if looked:
            self._executions.took(now - begun)
            await leave_time(now - begun, way.pace.behind(now))
        return True

    def _goes_on_without(self, way: _Way, error: Exception) -> bool:
        """Have a smaller look be next, after one that failed; leave a task if it was at one.

        Return False where the pass is to end: the next one begins with that look.
        """
        tried = self._executions.next
        self._executions.failed(tried)
        if tried > 1:
            return isinstance(error, (StoreConflict, OperationTimeout))
        if not way.walk.cursor.after:
            return False
        self.count(error)
        if not isinstance(error, ZartError):
            _log.error("a defect, in the look at one execution", exc_info=error)
        _log.warning("%s: what has ended is not found, or not in time", way.task_name)
        way.walk.leave_task()
        return True

    async def _remove_piece(self, due: _Due, way: _Way) -> None:
        """Remove the first of what was looked at."""
        begun = time.monotonic()
        piece = way.looked[: self._executions.next]
        is_last = len(piece) == len(way.looked)
        removed = 0
        try:
            async with self._db.transaction(first=ALLOW_PURGE) as tx:
                await set_pass(tx, TAKEN, way.walk.cursor if is_last else way.come_to)
                ended_before = await due.read_again(tx, way.task_name)
                if ended_before is not None:
                    gone = await remove_piece(tx, way.task_name, piece, ended_before, BY_ITSELF)
                    removed = gone.executions
        except (StoreConflict, OperationTimeout) as error:
            if len(piece) == 1:
                self.count(error)
            await self._do_with_fewer(way, piece)
        except Exception as error:
            # StoreUnavailable perhaps since PostgreSQL has ended it, having heard nothing of it.
            if len(piece) > 1:
                self._executions.failed(len(piece))
                raise
            self.count(error)
            if not isinstance(error, ZartError):
                _log.exception("a defect, in the removal of one execution")
            await self._do_with_fewer(way, piece)
        else:
            self._executions.took(time.monotonic() - begun)
            self.failing.go_well()
            if ended_before is None:
                way.walk.leave_task()
                piece = way.looked
            way.removed += removed
            way.go_past(piece)
        now = time.monotonic()
        if removed:
            way.pace.removes = True
        else:
            way.pace.idle += now - begun
        oldest = max((one.overdue for one in piece), default=0.0)
        await leave_time(now - begun, way.pace.overdue(oldest, now))

    async def _do_with_fewer(self, way: _Way, piece: Sequence[Looked]) -> None:
        """Have a smaller piece be next; go past an execution that does not go even alone."""
        self._executions.failed(len(piece))
        async with self._db.autocommit() as connection:
            await set_pass(connection, TAKEN, way.come_to)
            if len(piece) > 1:
                return
            name = await execution_id_of(connection, piece[0].position.execution_key)
        _log.warning(
            "execution %s of %s stays until a later pass: its removal failed, took too long, or"
            " others were in the way",
            name,
            way.task_name,
        )
        way.go_past(piece)
