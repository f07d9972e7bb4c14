"""Gathers the reports of many calls while a transaction is under way, and commits them together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from zart_server.domain.commands import Outcome, ReportResult
from zart_server.domain.errors import StoreConflict
from zart_server.domain.model import ReportStatus
from zart_server.engine.report import record_outcomes
from zart_server.store.db import Database
from zart_server.store.driver_errors import DataError

_log = logging.getLogger(__name__)
_BATCH = 1000
_ATTEMPTS = 5


@dataclass(slots=True)
class _Item:
    outcome: Outcome
    done: asyncio.Future[ReportResult]


class ReportGatherer:
    """Records outcomes batch after batch; a call's cancellation never touches a batch."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[_Item] = []
        self._worker: asyncio.Task[None] | None = None
        self._stragglers: set[asyncio.Task[None]] = set()

    async def record(self, outcomes: Sequence[Outcome]) -> list[ReportResult]:
        """Record outcomes; the answer comes after their commit."""
        loop = asyncio.get_running_loop()
        items = [_Item(outcome, loop.create_future()) for outcome in outcomes]
        self._waiting += items
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="reports")
        return list(await asyncio.gather(*(item.done for item in items)))

    async def stop(self) -> None:
        """Wait until everything gathered is recorded."""
        while self._worker is not None or self._stragglers:
            running = [*self._stragglers, *([self._worker] if self._worker else [])]
            await asyncio.wait(running)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._settle(batch, wait=False)
        finally:
            self._worker = None
            if self._waiting:  # told of while the last batch failed
                self._worker = asyncio.create_task(self._work(), name="reports")

    async def _settle(self, batch: list[_Item], *, wait: bool) -> None:
        """Record a batch and answer its calls; whatever goes wrong, every call is answered."""
        try:
            await self._record(batch, wait=wait)
        except DataError:
            await self._split(batch, wait=wait)
        except asyncio.CancelledError:
            for item in batch:
                item.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers', one by one
            for item in batch:
                if not item.done.done():
                    item.done.set_exception(error)

    async def _record(self, batch: list[_Item], *, wait: bool) -> None:
        outcomes = [item.outcome for item in batch]
        for attempt in range(_ATTEMPTS):
            try:
                async with self._db.transaction() as tx:
                    recorded = await record_outcomes(tx, outcomes, wait=wait)
                break
            except StoreConflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        for place, status in recorded.statuses.items():
            item = batch[place]
            if not item.done.done():
                item.done.set_result(ReportResult(item.outcome.task_id, status))
        held = [batch[place] for place in recorded.stragglers]
        if held:
            # They wait for their runs apart, so that one slow Restart holds up nobody else.
            task = asyncio.create_task(self._settle(held, wait=True), name="stragglers")
            self._stragglers.add(task)
            task.add_done_callback(self._stragglers.discard)

    async def _split(self, batch: list[_Item], *, wait: bool) -> None:
        """Halve a batch that PostgreSQL refused until the bad outcome stands alone."""
        if len(batch) == 1:
            item = batch[0]
            _log.warning("rejected an outcome of %s: it cannot be stored", item.outcome.task_id)
            text = "the outcome holds a value that cannot be stored"
            if not item.done.done():
                item.done.set_result(
                    ReportResult(item.outcome.task_id, ReportStatus.REJECTED, text)
                )
            return
        half = len(batch) // 2
        await self._settle(batch[:half], wait=wait)
        await self._settle(batch[half:], wait=wait)
