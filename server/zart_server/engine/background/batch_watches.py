"""Reads of batches with what became of their items, and watches of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zart_server.domain.batch_counts import Outcomes
from zart_server.domain.batches import EXACT_OUTCOMES, Batch
from zart_server.domain.errors import BatchNotFound, ZartError
from zart_server.domain.model import WatchUntil
from zart_server.engine.background.state_watches import ReadShare, StateWatches
from zart_server.store.batches.made import count_outcomes
from zart_server.store.batches.rows import BatchRow, find_batches
from zart_server.store.connection import Connection

_OLD = 5.0  # seconds for which what was counted of a large batch is told
_REST = 9  # times as long as a count took, before watches have it counted anew
_LONGEST_REST = 30.0
_MOST_KEPT = 1_000
_COUNTS_AT_ONCE = 2  # for watches: of however many large batches


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
    """What was counted of a large batch: when that began, and how many were done by then.

    For watches nothing is counted before ``rested``, but for what is said last: a count that takes
    long is to be seldom.
    """

    at: float = -math.inf
    rested: float = -math.inf
    done: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None  # that counts for watches
    error: Exception | None = None  # that this came to

    @property
    def is_any(self) -> bool:
        """Whether it was counted at all."""
        return self.at > -math.inf

    def lacks(self, row: BatchRow) -> bool:
        """Return whether a batch is over and more was done: what is said last has to add up."""
        return row.batch.status.is_finished and self.done != row.batch.counts.done


class BatchWatches:
    """The reads and watches of batches on one server, all of which ``reading`` has a place for."""

    def __init__(self, reading: ReadShare) -> None:
        self._reading = reading
        self._counts = asyncio.Semaphore(_COUNTS_AT_ONCE)
        self._counted: dict[int, _Counted] = {}
        self._watches: StateWatches[str, Batch] = StateWatches(self._read, "batch watches")
        self.look = self._watches.look

    def stop(self) -> None:
        """End all watches."""
        self._watches.stop()
        for counted in self._counted.values():
            if counted.task is not None:
                counted.task.cancel()

    def watch(self, batch_id: str, until: WatchUntil) -> AsyncGenerator[Batch]:
        """Yield a batch, then as it changes, until it has ended, or is drained besides.

        Raises BatchNotFound, the error of a failed read, or ShuttingDown.
        """
        return self._watches.watch(batch_id, _IS_OVER[until])

    async def read(self, batch_id: str) -> Batch:
        """Return a batch with its outcomes. Raises BatchNotFound."""
        found, large = await self._read_small([batch_id])
        if large:
            counted = await self._count(large[0], self._counted_of(large[0]))
            return replace(large[0].batch, outcomes=counted.outcomes)
        batch = found[batch_id]
        if isinstance(batch, ZartError):
            raise batch
        return batch

    async def _read(self, batch_ids: Sequence[str]) -> Mapping[str, Batch | Exception]:
        """Read batches for watches: of large ones what is counted, which nobody else waits for."""
        small, large = await self._read_small(batch_ids)
        found: dict[str, Batch | Exception] = {**small}
        for row in large:
            counted = self._counted_of(row)
            error, counted.error = counted.error, None
            if error is not None:
                found[row.batch.batch_id] = error
                continue
            is_old = _now() - counted.at > _OLD and _now() > counted.rested
            if (is_old or counted.lacks(row)) and counted.task is None:
                counted.task = asyncio.create_task(self._count_apart(row, counted))
            if counted.is_any and not counted.lacks(row):
                found[row.batch.batch_id] = replace(row.batch, outcomes=counted.outcomes)
        return found

    async def _read_small(
        self, batch_ids: Sequence[str]
    ) -> tuple[dict[str, Batch | ZartError], list[BatchRow]]:
        """Read batches with their outcomes, and return the rows of large ones apart."""
        found: dict[str, Batch | ZartError] = {id_: BatchNotFound(id_) for id_ in batch_ids}
        large = []
        # Totals and outcomes are of one moment.
        async with self._reading.transaction(snapshot=True) as tx:
            rows = await find_batches(tx, batch_ids)
            for row in rows:
                if row.batch.counts.done <= EXACT_OUTCOMES:
                    found[row.batch.batch_id] = await _with_outcomes(tx, row)
                else:
                    large.append(row)
                    del found[row.batch.batch_id]
        return found, large

    def _counted_of(self, row: BatchRow) -> _Counted:
        if len(self._counted) > _MOST_KEPT:
            self._counted = {key: each for key, each in self._counted.items() if each.task}
        return self._counted.setdefault(row.batch_key, _Counted())

    async def _count(self, row: BatchRow, counted: _Counted) -> _Counted:
        """Return what was counted of a large batch some seconds ago at most."""
        async with counted.counting:  # whoever waits finds what they wait for
            begun = _now()
            if begun - counted.at > _OLD or counted.lacks(row):
                async with self._reading.connection() as connection:
                    kind = row.batch.operation.kind
                    counted.outcomes = await count_outcomes(connection, row.batch_key, kind)
                counted.at, counted.done = begun, row.batch.counts.done
                counted.rested = _now() + min((_now() - begun) * _REST, _LONGEST_REST)
        return counted

    async def _count_apart(self, row: BatchRow, counted: _Counted) -> None:
        """Count for watches, and have this batch read again for them."""
        try:
            # Nobody who reads a batch waits for this place: they count themselves.
            async with self._counts:
                await self._count(row, counted)
        except Exception as error:  # noqa: BLE001 - the watches of this batch raise it
            counted.error = error
        finally:
            counted.task = None
        if not self._watches.look_at(row.batch.batch_id):
            counted.error = None  # whoever watches it next has not asked for this


async def _with_outcomes(connection: Connection, row: BatchRow) -> Batch:
    outcomes = await count_outcomes(connection, row.batch_key, row.batch.operation.kind)
    return replace(row.batch, outcomes=outcomes)
