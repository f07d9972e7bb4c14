"""Reports outcomes in batches, until each is recorded or can no longer be."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import grpc

from zart.dispatcher.arrivals import Report
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.following import Following
from zart.dispatcher.held import Held
from zart.dispatcher.outcomes import is_rejection, rejected
from zart.dispatcher.trouble import Trouble
from zart.errors import from_call
from zart.v1 import dispatch_service_pb2 as pb

_log = logging.getLogger(__name__)
_BATCH = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_SECOND = 250  # outcomes that are worth a second call while one is on its way
_TIMEOUT = 30.0


class Reporter:
    """Sends what became of tasks; while a batch is on its way, the next one gathers.

    A first outcome is sent at once. A second call goes out beside the first one only for many, so
    that the server always has some to record and is not asked for each.

    An outcome ends here in one way only: the server answers for that very one, that it is recorded
    or never will be. A call that fails, whatever its code and whoever says so (there may be proxies
    between), says nothing of its outcomes: they are sent again for as long as it takes, fewer at a
    time, since it may be one of them or their size that somebody minds.
    """

    def __init__(
        self,
        report_tasks: Report,
        dispatcher_id: str,
        following: Following,
        done: Callable[[Held], None],
    ) -> None:
        self._report_tasks = report_tasks
        self._dispatcher_id = dispatcher_id
        self._following = following
        self._done = done
        self._waiting: deque[tuple[Held, pb.TaskOutcome]] = deque()
        self._most = _BATCH  # outcomes of one call; less after one that failed
        self._on_their_way = 0  # calls
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._backoff = Backoff()
        self._aside: Held | None = None  # failed alone, and waits by itself to be sent again
        self._patience = Backoff()  # with that one
        self._trouble = Trouble(_log, "outcomes wait")

    def report(self, held: Held, outcome: pb.TaskOutcome) -> None:
        """Take an outcome; it is sent in the background."""
        held.ended = True
        self._following.expect(held, outcome)
        self._waiting.append((held, outcome))
        self._idle.clear()
        self._more.set()

    async def flush(self) -> None:
        """Wait until nothing is left to send."""
        await self._idle.wait()

    async def run(self) -> None:
        """Send batches until cancelled; a server that does not take them is tried for ever."""
        async with asyncio.TaskGroup() as calls:
            while True:
                await self._more.wait()
                self._more.clear()
                await self._gather()
                while self._waiting and self._is_time_for_a_call():
                    self._on_their_way += 1
                    calls.create_task(self._call(self._next_batch()))

    def _is_time_for_a_call(self) -> bool:
        return not self._on_their_way or (self._on_their_way == 1 and len(self._waiting) >= _SECOND)

    async def _gather(self) -> None:
        """Wait while each turn of the loop brings more: a crowd of quick handlers is under way."""
        gathered = 0
        while gathered < len(self._waiting) < _BATCH:
            gathered = len(self._waiting)
            await asyncio.sleep(0)

    def _next_batch(self) -> list[tuple[Held, pb.TaskOutcome]]:
        batch: list[tuple[Held, pb.TaskOutcome]] = []
        size = 0
        while self._waiting and len(batch) < self._most and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1][1].ByteSize()
        return batch

    async def _call(self, batch: list[tuple[Held, pb.TaskOutcome]]) -> None:
        try:
            problem = await self._send(batch)
            if problem is None:
                self._trouble.over()
                self._backoff.reset()
                self._most = min(2 * self._most, _BATCH)
                if self._aside is None:
                    self._patience.reset()
            else:
                self._trouble.met(problem)
                if self._aside is not batch[0][0]:
                    await self._backoff.wait()
        finally:
            self._on_their_way -= 1
            self._more.set()
            if not self._waiting and not self._on_their_way and self._aside is None:
                self._idle.set()

    async def _send(self, batch: list[tuple[Held, pb.TaskOutcome]]) -> object | None:
        """Send a batch. Gives why it has to be sent again, None where it was answered."""
        tasks = [held for held, _ in batch]
        request = pb.ReportTasksRequest(
            dispatcher_id=self._dispatcher_id, outcomes=[outcome for _, outcome in batch]
        )
        self._following.ask(tasks, request)
        try:
            response, leased = await self._report_tasks(request, _TIMEOUT)
        except grpc.RpcError as error:
            return self._put_back(batch, from_call(error))
        except asyncio.CancelledError:  # by the channel, which calls it so that it was closed
            if _is_cancelled():
                raise
            return self._put_back(batch, "the connection was closed")
        except Exception as error:  # noqa: BLE001 - outcomes are not lost, whatever it is
            return self._put_back(batch, repr(error))
        self._following.answered(tasks, leased)
        if len(response.results) != len(batch):
            # Not from a server of ours, or not all of it.
            return self._put_back(batch, f"{len(response.results)} results for {len(batch)}")
        unanswered = []
        for (held, outcome), result in zip(batch, response.results, strict=True):
            if result.status == pb.REPORT_STATUS_RECORDED:
                self._done(held)
            elif result.status == pb.REPORT_STATUS_UNSPECIFIED:
                unanswered.append((held, outcome))
            else:
                self._settle(held, outcome, result)
        return self._put_back(unanswered, "some were not answered for") if unanswered else None

    def _put_back(self, batch: Sequence[tuple[Held, pb.TaskOutcome]], why: object) -> object:
        """Keep outcomes for a later call, of half as many; one alone lets the others go first.

        Of those that failed alone one at a time waits aside, and holds up nobody; a second one
        tells that it may be the server, and all wait. Nothing is leased by that call: it could be
        this that somebody minds.
        """
        self._following.given_up(held for held, _ in batch)
        self._most = max(1, len(batch) // 2)
        if len(batch) == 1 and self._aside is None:
            self._aside = batch[0][0]
            loop = asyncio.get_running_loop()
            loop.call_later(self._patience.delay(), self._back_from_aside, batch[0])
        elif len(batch) == 1:
            self._waiting.extend(batch)
        else:
            self._waiting.extendleft(reversed(batch))
        return why

    def _back_from_aside(self, one: tuple[Held, pb.TaskOutcome]) -> None:
        self._aside = None
        self._waiting.append(one)
        self._more.set()

    def _settle(self, held: Held, outcome: pb.TaskOutcome, result: pb.ReportResult) -> None:
        where = held.context.run_id, held.context.step_name
        if result.status == pb.REPORT_STATUS_LEASE_LOST:
            _log.warning("%s/%s: the lease was lost, its outcome is dropped", *where)
        elif result.status == pb.REPORT_STATUS_REJECTED:
            _log.warning("%s/%s: the outcome was rejected: %s", *where, result.error)
            if not is_rejection(outcome):
                self.report(held, rejected(held, outcome, result.error))
                return
        self._done(held)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
