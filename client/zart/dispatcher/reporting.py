"""Reports outcomes in batches, until each is recorded or can no longer be."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from zart.dispatcher.backoff import Backoff
from zart.dispatcher.following import Following
from zart.dispatcher.held import Held
from zart.dispatcher.outcomes import rejected
from zart.errors import (
    InvalidCredentials,
    InvalidField,
    MissingCredentials,
    PayloadTooLarge,
    Refused,
    RoleRequired,
    TooManyItems,
    Unavailable,
    ZartError,
    from_call,
)
from zart.v1 import dispatch_service_pb2 as pb

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = logging.getLogger(__name__)
_BATCH = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_SECOND = 250  # outcomes that are worth a second call while one is on its way
_TIMEOUT = 30.0
_NO_REPEAT_CURES = (InvalidField, PayloadTooLarge, TooManyItems)
_CREDENTIALS = (MissingCredentials, InvalidCredentials, RoleRequired)
_TRIES = 5


class Reporter:
    """Sends what became of tasks; while a batch is on its way, the next one gathers.

    A first outcome is sent at once. A second call goes out beside the first one only for many, so
    that the server always has some to record and is not asked for each.
    """

    def __init__(
        self,
        stub: DispatchServiceAsyncStub,
        dispatcher_id: str,
        following: Following,
        done: Callable[[Held], None],
    ) -> None:
        self._stub = stub
        self._dispatcher_id = dispatcher_id
        self._following = following
        self._done = done
        self._waiting: deque[tuple[Held, pb.TaskOutcome]] = deque()
        self._on_their_way = 0  # calls
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

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
        """Send batches until cancelled; an unreachable server is tried for ever."""
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
        while self._waiting and len(batch) < _BATCH and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1][1].ByteSize()
        return batch

    async def _call(self, batch: list[tuple[Held, pb.TaskOutcome]]) -> None:
        try:
            await self._send(batch)
        finally:
            self._on_their_way -= 1
            self._more.set()
            if not self._waiting and not self._on_their_way:
                self._idle.set()

    async def _send(self, batch: list[tuple[Held, pb.TaskOutcome]]) -> None:
        backoff = Backoff()
        tasks = [held for held, _ in batch]
        request = pb.ReportTasksRequest(
            dispatcher_id=self._dispatcher_id, outcomes=[outcome for _, outcome in batch]
        )
        tries = 0
        while True:
            self._following.ask(tasks, request)
            asked_at = asyncio.get_running_loop().time()
            try:
                response = await self._stub.ReportTasks(request, timeout=_TIMEOUT)
            except grpc.RpcError as error:
                problem = from_call(error)
                tries += 1
                if _is_hopeless(problem, tries):
                    await self._split(batch, str(problem))
                    return
                _log.warning("outcomes wait, a repeat follows: %s", problem)
                await backoff.wait()
            else:
                self._following.answered(tasks, response, asked_at)
                for (held, outcome), result in zip(batch, response.results, strict=True):
                    if result.status == pb.REPORT_STATUS_RECORDED:
                        self._done(held)
                    else:
                        self._settle(held, outcome, result)
                return

    async def _split(self, batch: list[tuple[Held, pb.TaskOutcome]], why: str) -> None:
        """Find the outcome that the server refuses a whole batch for."""
        if len(batch) == 1:
            held, outcome = batch[0]
            self._following.given_up([held])
            result = pb.ReportResult(status=pb.REPORT_STATUS_REJECTED, error=why)
            self._settle(held, outcome, result)
            return
        middle = len(batch) // 2
        await self._send(batch[:middle])
        await self._send(batch[middle:])

    def _settle(self, held: Held, outcome: pb.TaskOutcome, result: pb.ReportResult) -> None:
        where = held.context.run_id, held.context.step_name
        if result.status == pb.REPORT_STATUS_LEASE_LOST:
            _log.warning("%s/%s: the lease was lost, its outcome is dropped", *where)
        elif result.status == pb.REPORT_STATUS_REJECTED:
            _log.warning("%s/%s: the outcome was rejected: %s", *where, result.error)
            if outcome.HasField("completed"):
                self.report(held, rejected(held, result.error))
                return
        self._done(held)


def _is_hopeless(problem: ZartError, tries: int) -> bool:
    """Tell a batch that the server will never take from a server that cannot take any now.

    Credentials that have run out may be renewed; what was done under them is not thrown away.
    """
    if isinstance(problem, _NO_REPEAT_CURES):
        return True
    if isinstance(problem, _CREDENTIALS):
        return False
    refused = isinstance(problem, Refused) and not isinstance(problem, Unavailable)
    return refused and tries >= _TRIES
