"""What dispatchers ask of a server: long polls, reports in batches, extensions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from zart_server.domain.dispatch import (
    ExtendResult,
    LeasedTask,
    LeaseRef,
    LeaseTasks,
    Outcome,
    Released,
    Reported,
)
from zart_server.domain.errors import InvalidField, PayloadTooLarge, ZartError
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.completions import Completions
from zart_server.engine.dispatch.lease import lease_tasks, lease_unless_early
from zart_server.engine.dispatch.long_polls import LongPoll, LongPolls, in_all
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.report_batches import ReportBatches
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.dispatch.yielding import yield_to_others
from zart_server.store.db import Database
from zart_server.store.definitions import find_definitions
from zart_server.store.due import are_any_due
from zart_server.store.handler_inputs import measure, read_large, read_upstream
from zart_server.store.leases import LeaseKey, extend, read_lease
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

_log = logging.getLogger(__name__)
_AFTER_A_FAILURE = 0.5  # seconds
_RESULTS_BYTES = 15 * 1024 * 1024


class Dispatch:
    """What dispatchers ask of one server."""

    def __init__(self, db: Database, room: WaitingRoom, tally: Tally) -> None:
        self._db = db
        self.tally = tally
        self.completions = Completions()
        self._reports = ReportBatches(db, room, self.completions, tally)
        self.low_water = LowWater()
        self.draining = asyncio.Event()
        self.long_polls = LongPolls()
        self.asked: set[str] = set()  # tasks asked for since the last note of it

    @property
    def asked_by_now(self) -> set[str]:
        """The tasks that dispatchers ask this server for, and that may not be on record yet."""
        return self.asked | self.long_polls.task_names()

    async def lease(
        self, command: LeaseTasks, gone: asyncio.Event | None = None
    ) -> list[LeasedTask]:
        """Lease tasks, waiting for the first one up to ``wait``; none once draining.

        ``gone`` is set when the caller is gone: no more tasks are leased for it. The tasks leased
        by then are returned all the same, for the servicer to release.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + command.wait.total_seconds()
        self.asked.update(command.task_names)
        is_told = False
        with self.long_polls.register(command, gone) as long_poll:
            while not self.draining.is_set() and not (gone and gone.is_set()):
                told = long_poll.begins_to_look()
                began = time.monotonic()
                is_last = loop.time() >= deadline
                try:
                    tasks = await self._look(command, is_told=is_told, is_last=is_last)
                except Exception:
                    # Others fail likewise for a while: not all who wait, one after the other.
                    told = in_all(told, long_poll.begins_to_look())
                    if told:
                        loop.call_later(_AFTER_A_FAILURE, self.long_polls.wake, told)
                    raise
                except BaseException:
                    long_poll.put_off = told  # others look in its stead
                    raise
                if tasks:
                    self._pass_on(command, told, tasks, began)
                if tasks or is_last:
                    return tasks or []
                if tasks is None:
                    long_poll.put_off = told
                    await self._rest(command, long_poll, began, deadline)
                    if self.low_water.is_emptied(command.task_names, command.handlers, began):
                        long_poll.put_off = {}  # another has looked at that
                    is_told = True
                else:
                    is_told = await long_poll.wait(deadline - loop.time())
                self.tally.leased(long_poll.delivered)
                if long_poll.delivered or not is_told:
                    return long_poll.delivered
                self.long_polls.requeue(long_poll)
        return []

    def _pass_on(
        self,
        command: LeaseTasks,
        told: Mapping[tuple[str, str], int],
        tasks: Sequence[LeasedTask],
        began: float,
    ) -> None:
        """Wake others for lanes that a call was woken for and took nothing of.

        Unless it looked at all of them, and there was nothing more: it was too early for that as it
        ``began``, or its answer is full.
        """
        lanes = command.task_names, command.handlers
        is_full = len(tasks) >= command.max_tasks
        if is_full or not self.low_water.is_emptied(*lanes, began):
            found = {(task.task_name, task.step.handler) for task in tasks}
            self.long_polls.wake({lane: told[lane] for lane in told if lane not in found})

    async def _rest(
        self, command: LeaseTasks, long_poll: LongPoll, began: float, deadline: float
    ) -> None:
        """Wait until a call that came too early, at ``began``, is woken or is to look again.

        That is once it may, which can be now; at its deadline where the look of another call has
        left nothing since. So many that wait for the same lanes do not look one after the other.
        """
        loop = asyncio.get_running_loop()
        lanes = command.task_names, command.handlers
        if not self.low_water.is_emptied(*lanes, began):
            rest = self.low_water.rests(*lanes)
            if await long_poll.wait(min(rest, deadline - loop.time())):
                return
        if self.low_water.is_emptied(*lanes, began):
            await long_poll.wait(deadline - loop.time())

    async def _look(
        self, command: LeaseTasks, *, is_told: bool, is_last: bool
    ) -> list[LeasedTask] | None:
        """Lease tasks that are due; peek first if there were none and none was announced since.

        None: there were none, and it is too early to look at all lanes; never if it ``is_last``.
        """
        lanes = command.task_names, command.handlers
        if not is_told and self.low_water.is_dry(*lanes):
            await yield_to_others()
            async with self._db.autocommit() as connection:
                begin = self.low_water.to_look(*lanes)
                handlers = command.handlers or None
                due = await are_any_due(connection, command.task_names, handlers, begin)
                if not due.is_any:
                    self.low_water.looked_in_vain(*lanes, begin, due)
                    return []
        async with self._db.transaction(first=SHARE_PAUSE_LOCK) as tx:
            lease = lease_tasks if is_last else lease_unless_early
            tasks = await lease(tx, command, self.low_water)
        if tasks:
            self.tally.claimed(tasks)
        self.low_water.found_any(*lanes, is_any=bool(tasks))
        return tasks

    async def report(self, dispatcher_id: str, outcomes: Sequence[Outcome]) -> Reported:
        """Record outcomes, together with those of other calls; answers after the commit.

        A server that drains leases nothing in return.
        """
        if self.draining.is_set():
            outcomes = [outcome._replace(lease_next=None) for outcome in outcomes]
        # All outcomes of a call ask alike, or not at all.
        wish = next((outcome.lease_next for outcome in outcomes if outcome.lease_next), None)
        if wish is not None:
            self.asked.update(wish.task_names)
        reported = await self._reports.record(outcomes)
        lost = sum(result.status is ReportStatus.LEASE_LOST for result in reported.results)
        if lost:
            _log.info("%d outcomes of %s came too late", lost, dispatcher_id)
        return reported

    async def extend(self, refs: Sequence[LeaseRef]) -> list[ExtendResult]:
        """Extend leases whose token is current."""
        keys = [LeaseKey.of_task(ref.task_id, ref.lease_token, ref.principal) for ref in refs]
        async with self._db.transaction() as tx:
            extended = await extend(tx, [key for key in keys if key is not None])
        results = []
        for ref, key in zip(refs, keys, strict=True):
            found = extended.get(key) if key is not None else None
            if found is None:
                results.append(ExtendResult(ref.task_id, extended=False))
            else:
                results.append(ExtendResult(ref.task_id, True, *found))  # noqa: FBT003 - extended
        return results

    async def release(
        self, tasks: Sequence[LeasedTask], principal: str, *, not_begun: bool = True
    ) -> None:
        """Queue tasks again whose lease did not reach its dispatcher, ``principal``.

        Not ``not_begun``: it may have reached it all the same, and what it reports is LEASE_LOST. A
        step that stops in doubt is then left to its lease: who has it reports it, and if nobody has
        it, it expires. If the release fails all the leases are left to expire: no caller waits for
        the outcome.
        """
        outcomes = [
            Outcome(
                task.task_id, task.lease_token, Released(None, not_begun, by_server=True), principal
            )
            for task in tasks
            if not_begun or task.step.if_in_doubt is not IfInDoubt.STOP
        ]
        if not outcomes:
            return
        try:
            await self._reports.record(outcomes)
        except ZartError as error:
            _log.warning("%d leases are left to expire: %s", len(outcomes), error.message)
            return
        _log.info("released %d tasks whose lease could not be delivered", len(outcomes))

    async def step_results(self, ref: LeaseRef, step_names: Sequence[str]) -> dict[str, str]:
        """Read results of direct dependencies of a leased task; at most 15 MiB with their names."""
        key = LeaseKey.of_task(ref.task_id, ref.lease_token, ref.principal)
        if key is None:
            raise InvalidField("task_id", "is not one that LeaseTasks gave")
        async with self._db.transaction() as tx:
            lease = await read_lease(tx, key)
            if lease is None:
                raise InvalidField("lease_token", "is not current: the lease was lost")
            definition_key = lease["definition_key"]
            definition = (await find_definitions(tx, [definition_key]))[definition_key]
            graph = definition.graph
            direct = {graph.steps[dep].step_name: dep for dep in graph.depends_on[key.step_no]}
            for index, name in enumerate(step_names):
                if name not in direct:
                    raise InvalidField(f"step_names[{index}]", f"{name!r} is no direct dependency")
            keys = sorted({(key.run_key, direct[name]) for name in step_names})
            sizes = await read_upstream(tx, keys)
            named = sum(definition.name_bytes[dep] for _, dep in keys)
            total = named + sum(result.size for result in sizes.values())  # at least
            unmeasured = [step for step, result in sizes.items() if not result.is_measured]
            if unmeasured and total <= _RESULTS_BYTES:
                sizes |= await measure(tx, unmeasured, _RESULTS_BYTES)
                total = named + sum(result.size for result in sizes.values())
            if total > _RESULTS_BYTES:
                raise PayloadTooLarge("step_names", total, _RESULTS_BYTES)
            texts = await read_large(tx, [], keys)
        return {graph.steps[number].step_name: text for (_, number), text in texts.items()}

    def drain(self) -> None:
        """Lease nothing more; calls that wait answer now, with nothing."""
        self.draining.set()
        self.long_polls.wake_all()

    async def stop(self) -> None:
        """Record the outcomes that are still waiting for their transaction."""
        try:
            await self._reports.stop()
        except ZartError:
            _log.warning("the last reports could not be recorded; their dispatchers repeat them")
