"""Removes operations that are older than they are kept, attempts at some, and batches.

Of a pass through what has ended (``Retention``) these are the parts that go by one time: they wait
for no execution, and for none of one another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from zart_server.domain.errors import OperationTimeout, StoreConflict
from zart_server.domain.retention import BY_ITSELF, Removed
from zart_server.engine.background.piece_size import LATE, PieceSize, leave_time
from zart_server.store.db import Database
from zart_server.store.retention.operations import (
    TABLES,
    RemovedPiece,
    remove_batches,
    remove_operations,
)
from zart_server.store.retention.passes import TAKEN, prolong_pass
from zart_server.store.retention.records import record_removed
from zart_server.store.retention.removing import ALLOW_PURGE

_log = logging.getLogger(__name__)
# Seconds after which what was gone past, though it was young, is looked at again: it may be old.
_GONE_PAST = 86_400.0
T = TypeVar("T")


class OldOperations:
    """How far one server has come with them, from one pass to the next."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._size = PieceSize()
        self._after = dict.fromkeys(TABLES, 0)
        self._begun = time.monotonic()

    def parts(self, before: datetime) -> list[Callable[[], Awaitable[None]]]:
        """Return what removes all that is older than a time: of each table, and batches."""
        if time.monotonic() - self._begun > _GONE_PAST:
            self._after = dict.fromkeys(TABLES, 0)
            self._begun = time.monotonic()
        parts = [partial(self._remove_all_of, table, before) for table in TABLES]
        return [*parts, partial(self._remove_all_batches, before)]

    async def _remove_all_of(self, table: str, before: datetime) -> None:
        total = 0
        is_more = True
        while is_more:
            piece = await self._in_time(partial(self._remove_of, table, before))
            if piece is not None:
                self._after[table], is_more = piece.until, piece.is_more
                total += piece.removed
        if total:
            _log.info("removed %d rows of %s", total, table)

    async def _remove_all_batches(self, before: datetime) -> None:
        while await self._in_time(partial(self._remove_batches, before)) is not False:
            pass

    async def _in_time(self, work: Callable[[int], Awaitable[T]]) -> T | None:
        """Do a piece of so many at most; None: it did not get through, a smaller one may."""
        begun = time.monotonic()
        tried = self._size.next
        done = None
        try:
            done = await work(tried)
        except (StoreConflict, OperationTimeout):
            if tried == 1:
                raise
            self._size.failed(tried)
        else:
            self._size.took(time.monotonic() - begun)
        await leave_time(time.monotonic() - begun, LATE)
        return done

    async def _remove_of(self, table: str, before: datetime, most: int) -> RemovedPiece:
        async with self._db.transaction(first=ALLOW_PURGE) as tx:
            await prolong_pass(tx, TAKEN)
            piece = await remove_operations(tx, table, self._after[table], before, most)
            if piece.removed:
                gone = Removed(operations=piece.removed)
                await record_removed(tx, "", BY_ITSELF, gone, before)
        return piece

    async def _remove_batches(self, before: datetime, most: int) -> bool:
        async with self._db.transaction(first=ALLOW_PURGE) as tx:
            await prolong_pass(tx, TAKEN)
            return await remove_batches(tx, before, most)
