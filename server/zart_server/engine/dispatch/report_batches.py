"""Group commit: reports that come while a transaction is under way are committed together.

One batch follows the other, so none waits for what somebody has locked: the outcomes of locked runs
are set apart, and so are those that kept a batch waiting below their runs for more than a moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import Any

from zart_server.domain.dispatch import LeasedTask, Outcome, Released, Reported
from zart_server.domain.errors import ShuttingDown, StoreConflict, ZartError
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.completions import Completions
from zart_server.engine.dispatch.outcome_batch import Recorded, find_batch, lease_of
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.dispatch.report import record_outcomes
from zart_server.engine.dispatch.report_call import (
    OfCall,
    ReportCall,
    end_shares,
    lend_to,
    take_calls,
)
from zart_server.engine.dispatch.report_ways import (
    AT_ONCE,
    IN_PARTS,
    IN_TURN,
    ONCE_MORE,
    TRIED,
    ReportWay,
)
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.driver_errors import DataError
from zart_server.store.locked_rows import find_locked_runs
from zart_server.store.patience import MOMENT, at_most

_log = logging.getLogger(__name__)
_PARTS = 8  # in which a batch is tried that is kept waiting by what is not found
_TURNS = 50  # that the outcomes of a locked run have
_BETWEEN_TURNS = 0.05  # seconds
_LAST_WAIT = 5.0  # seconds that a stop gives to what is being recorded
_ROLLED_BACK = 2.0  # seconds in which what is given up has come to its end


class ReportBatches:
    """Records outcomes batch after batch; a call's cancellation never touches a batch."""

    def __init__(
        self, db: Database, room: WaitingRoom, completions: Completions, tally: Tally
    ) -> None:
        self._room = room
        self._completions = completions
        self._tally = tally
        self._db = db
        self._waiting: list[ReportCall] = []
        self._worker: asyncio.Task[None] | None = None
        self._stragglers: set[asyncio.Task[None]] = set()
        self._calls: set[ReportCall] = set()  # that are not answered
        self._is_over = False

    async def record(self, outcomes: Sequence[Outcome]) -> Reported:
        """Record outcomes; the answer comes after their commit."""
        if not outcomes:
            return Reported([], [])
        if self._is_over:
            raise ShuttingDown
        call = ReportCall.of(outcomes)
        self._calls.add(call)
        self._waiting.append(call)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="reports")
        try:
            return await call.done
        finally:
            self._calls.discard(call)

    async def stop(self) -> None:
        """Wait until all outcomes are recorded, or for some seconds.

        What is left then waits for a run that somebody has locked, or for the database: their
        dispatchers repeat it, to another server.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _LAST_WAIT
        while (running := self._running()) and (left := until - loop.time()) > 0:
            await asyncio.wait(running, timeout=left)
        if running:
            _log.warning("the last reports are not recorded in time; their dispatchers repeat them")
            await self._give_up(running)

    async def _give_up(self, running: Collection[asyncio.Task[None]]) -> None:
        """Answer all calls, and roll back what is under way for them."""
        self._is_over, self._waiting = True, []
        for call in self._calls:
            if not call.done.done():
                call.done.set_exception(ShuttingDown())
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_ROLLED_BACK)

    def _running(self) -> list[asyncio.Task[None]]:
        return [*self._stragglers, *([self._worker] if self._worker else [])]

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = take_calls(self._waiting)
                if left := await self._settle(batch, AT_ONCE):
                    left = await self._settle(await self._without_locked(left), ONCE_MORE)
                    for part in _parts(left):  # what it is that is locked, no look has found
                        self._set_apart(await self._settle(part, IN_PARTS))
        finally:
            self._worker = None
            if self._waiting:  # told of while the last batch failed
                self._worker = asyncio.create_task(self._work(), name="reports")

    async def _settle(self, batch: list[OfCall], way: ReportWay) -> list[OfCall]:
        """Record a batch, and return what others kept from being recorded.

        The calls of all the rest are answered, whatever goes wrong.
        """
        if not batch:
            return []
        try:
            if await self._record(batch, way):
                return []
            return await self._halve(batch, way)
        except StoreConflict:
            return batch
        except DataError:
            return await self._split(batch, way)
        except asyncio.CancelledError:
            for call in {call for call, _ in batch}:
                call.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers', one by one
            self._fail(batch, error)
            return []

    def _fail(self, batch: list[OfCall], error: Exception) -> None:
        for call in {call for call, _ in batch}:
            if not call.done.done():
                call.done.set_exception(error)
            self._give_back(call)

    async def _record(self, batch: list[OfCall], way: ReportWay) -> bool:
        """Record a batch; False: it may make too many steps ready, and nothing was done."""
        outcomes, shares = lend_to(batch, are_parts=way.are_parts)
        try:
            recorded = await self._record_once(outcomes, way)
        finally:
            end_shares(shares)
        if recorded is None:
            return False
        self._hand_on(batch, recorded.tasks)
        for number, status in recorded.statuses.items():
            call, index = batch[number]
            call.settle(index, status)
        self._set_apart([batch[number] for number in recorded.stragglers])
        return True

    async def _without_locked(self, batch: list[OfCall]) -> list[OfCall]:
        """Set apart what somebody keeps waiting; return the rest, which waits for none of it."""
        leases = [lease_of(call.outcomes[index]) for call, index in batch]
        try:
            async with self._db.transaction(first=at_most(MOMENT)) as tx:
                locked = await find_locked_runs(tx, filter(None, leases))
        except Exception:  # noqa: BLE001 - the next attempt is to tell the callers
            return batch
        apart = [lease is not None and lease.run_key in locked for lease in leases]
        self._set_apart([item for item, is_apart in zip(batch, apart, strict=True) if is_apart])
        return [item for item, is_apart in zip(batch, apart, strict=True) if not is_apart]

    def _set_apart(self, items: Sequence[OfCall]) -> None:
        """Have outcomes wait for their runs apart: one slow Restart holds up nobody else."""
        by_run: dict[str, list[OfCall]] = {}
        for call, index in items:
            run, _, _ = call.outcomes[index].task_id.partition("-")
            by_run.setdefault(run, []).append((call, index))
            self._hold_up(call)
        for run, of_run in by_run.items():
            self._go_on(self._wait_for(run, of_run), "stragglers")

    def _hand_on(self, batch: list[OfCall], tasks: Iterable[tuple[int, LeasedTask]]) -> None:
        """Give tasks to the calls that leased them, but for those that ended with a former part."""
        for number, task in tasks:
            batch[number][0].tasks.append(task)
        for call in {call for call, _ in batch if call.done.done()}:
            self._give_back(call)

    async def _record_once(self, outcomes: Sequence[Outcome], way: ReportWay) -> Recorded | None:
        connection: Connection
        if way.waits:
            async with self._db.transaction(first=at_most(way.seconds)) as connection:
                batch = await find_batch(connection, outcomes)
                if batch.is_wide and len(outcomes) > 1:
                    return None
                recorded = await record_in_general(connection, batch, wait=True)
        else:
            async with self._db.autocommit() as connection:
                done = await record_outcomes(connection, outcomes, way.seconds)
                if done is None:
                    return None
                recorded = done
        self._tally.recorded(recorded)
        self._completions.add(connection, recorded)
        return recorded

    async def _wait_for(self, run: str, items: list[OfCall]) -> None:
        """Record outcomes of a locked run: one transaction waits for it at a time.

        Most such locks last a few milliseconds: that is tried first, and not behind those who wait
        for minutes. These take turns.
        """
        async with self._room.line(run):
            async with self._room.trying_many():
                items = await self._settle(items, TRIED)
            for _ in range(_TURNS):
                if not items:
                    return
                await asyncio.sleep(_BETWEEN_TURNS)  # others first, whatever the conflict is
                async with self._room.place():
                    items = await self._settle(items, IN_TURN)
            self._fail(items, StoreConflict())

    def _hold_up(self, call: ReportCall) -> None:
        """See to it that what a call has leased does not wait long for its slow runs."""
        if call.is_held_up or (patience := call.patience()) is None:
            return
        call.is_held_up = True
        self._go_on(self._withhold(call, patience), "withheld")

    async def _withhold(self, call: ReportCall, patience: float) -> None:
        """Give back again and again what a call has leased, until it is answered."""
        while not call.done.done():
            await asyncio.wait([call.done], timeout=patience)
            if not call.done.done():
                self._give_back(call)

    def _go_on(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._stragglers.add(task)
        task.add_done_callback(self._stragglers.discard)

    def _give_back(self, call: ReportCall) -> None:
        """Release the tasks that a call leased and that are not sent to it.

        It is answered with an error, or cannot be answered yet.
        """
        tasks, call.tasks = call.tasks, []
        if tasks:
            principal = call.outcomes[0].principal
            ending = Released(None, not_begun=True, by_server=True)
            released = [
                Outcome(task.task_id, task.lease_token, ending, principal) for task in tasks
            ]
            self._go_on(self._release(released), "releases")

    async def _release(self, outcomes: Sequence[Outcome]) -> None:
        try:
            await self.record(outcomes)
        except ZartError as error:
            _log.warning("%d leases are left to expire: %s", len(outcomes), error.message)

    async def _split(self, batch: list[OfCall], way: ReportWay) -> list[OfCall]:
        """Halve a batch that PostgreSQL refused until the bad outcome stands alone."""
        if len(batch) > 1:
            return await self._halve(batch, way)
        call, index = batch[0]
        _log.warning("rejected an outcome of %s", call.outcomes[index].task_id)
        error = "the outcome holds a value that cannot be stored"
        call.settle(index, ReportStatus.REJECTED, error)
        return []

    async def _halve(self, batch: list[OfCall], way: ReportWay) -> list[OfCall]:
        half = len(batch) // 2
        left = await self._settle(batch[:half], way)
        return left + await self._settle(batch[half:], way)


def _parts(batch: list[OfCall]) -> list[list[OfCall]]:
    size = -(-len(batch) // _PARTS)
    return [batch[at : at + size] for at in range(0, len(batch), size or 1)]
