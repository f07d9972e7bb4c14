"""Reads of batches with what became of their items, and watches of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zart_server.domain.batches import EXACT_OUTCOMES, Batch, Outcomes
from zart_server.domain.errors import BatchNotFound, ZartError
from zart_server.domain.model import WatchUntil
from zart_server.engine.background.state_watches import StateWatches
from zart_server.store.batches.made import count_outcomes
from zart_server.store.batches.rows import BatchRow, find_batches
from zart_server.store.connection import Connection
from zart_server.store.db import Database

_OLD = 5.0  # seconds for which what was counted of a large batch is told
_MOST_KEPT = 1_000


def _is_drained(batch: Batch) -> bool:
    return batch.status.is_finished and not (batch.outcomes and batch.outcomes.in_flight)


_IS_OVER: Mapping[WatchUntil, Callable[[Batch], bool]] = {
    WatchUntil.DRAINED: _is_drained,
    WatchUntil.ENDED: lambda batch: batch.status.is_finished,
}


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class _Counted:
    """What was counted of a large batch: when that began, and how many were done by then."""

    at: float = -math.inf
    done: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)


class BatchWatches:
    """The reads and watches of batches on one server."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counted: dict[int, _Counted] = {}
        self._watches: StateWatches[str, Batch] = StateWatches(self._read, "batch watches")
        self.look = self._watches.look
        self.stop = self._watches.stop

    def watch(self, batch_id: str, until: WatchUntil) -> AsyncGenerator[Batch]:
        """Yield a batch, then as it changes, until it has ended, or is drained besides.

        Raises BatchNotFound, the error of a failed read, or ShuttingDown.
        """
        return self._watches.watch(batch_id, _IS_OVER[until])

    async def read(self, batch_id: str) -> Batch:
        """Return a batch with its outcomes. Raises BatchNotFound."""
        found = (await self._read([batch_id]))[batch_id]
        if isinstance(found, ZartError):
            raise found
        return found

    async def _read(self, batch_ids: Sequence[str]) -> Mapping[str, Batch | ZartError]:
        found: dict[str, Batch | ZartError] = {id_: BatchNotFound(id_) for id_ in batch_ids}
        # Totals and outcomes are of one moment.
        async with self._db.transaction(snapshot=True) as tx:
            rows = await find_batches(tx, batch_ids)
            for row in rows:
                if row.batch.counts.done <= EXACT_OUTCOMES:
                    found[row.batch.batch_id] = await _with_outcomes(tx, row)
        for row in rows:
            if row.batch.counts.done > EXACT_OUTCOMES:
                found[row.batch.batch_id] = replace(row.batch, outcomes=await self._counted_of(row))
        return found

    async def _counted_of(self, row: BatchRow) -> Outcomes:
        """Return what was counted of a large batch some seconds ago at most."""
        if len(self._counted) > _MOST_KEPT:
            self._counted.clear()
        counted = self._counted.setdefault(row.batch_key, _Counted())
        async with counted.counting:  # whoever waits finds what they wait for
            begun = _now()
            # What is said last, of a batch that is over, adds up.
            done, is_over = row.batch.counts.done, row.batch.status.is_finished
            if begun - counted.at > _OLD or (is_over and counted.done != done):
                async with self._db.autocommit() as connection:
                    kind = row.batch.operation.kind
                    counted.outcomes = await count_outcomes(connection, row.batch_key, kind)
                counted.at, counted.done = begun, done
        return counted.outcomes


async def _with_outcomes(connection: Connection, row: BatchRow) -> Batch:
    outcomes = await count_outcomes(connection, row.batch_key, row.batch.operation.kind)
    return replace(row.batch, outcomes=outcomes)
