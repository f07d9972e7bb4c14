"""Reports outcomes in batches, until each is recorded or the server says that none will be."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

import grpc

from zart.closed_clients import is_cancelled
from zart.dispatcher.arrivals import Reports
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.eager_dispatch import EagerDispatch
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.log import Log
from zart.dispatcher.outcomes import is_rejection, rejected
from zart.dispatcher.room import Room
from zart.dispatcher.trouble import Trouble
from zart.dispatcher.unanswered import Unanswered
from zart.errors import ZartError, from_call
from zart.v1 import dispatch_service_pb2 as pb

_log = Log(__name__)
_BATCH = 1000
_BATCH_BYTES = 8 * 1024 * 1024
_SECOND = 250  # so many waiting outcomes are worth a second call while one is on its way
_APART = 8  # outcomes at most that are sent apart: where more fail alone, the server may be away
# Seconds from the begin of a call to that of the next one of a dispatcher at work, unless so many
# outcomes wait: about as many as go over a stream.
_GATHER, _ENOUGH = 0.01, 48
_TIMEOUT = 30.0


class Reporter:
    """Sends outcomes in batches; while one batch is on its way, outcomes wait for the next.

    A first outcome is sent at once. A second call is made beside the first only for many outcomes:
    so the server always has some to record, and is not called for each. A dispatcher at work lets
    its outcomes gather for a moment from the begin of each call.

    An outcome is forgotten only when the server's answer has a result for it: recorded, or never to
    be recorded. A failed call says nothing of its outcomes, whatever its code, since a proxy may
    have failed it. They are sent again for as long as it takes, fewer at a time: one of them, or
    their size, may be the reason. One that fails alone is sent apart, in calls of its own beside
    those of the others: it delays none of them, however long its calls take.
    """

    def __init__(
        self,
        reports: Reports,
        dispatcher_id: str,
        eager: EagerDispatch,
        done: Callable[[InHand], None],
        room: Room,
    ) -> None:
        self._reports = reports
        self._dispatcher_id = dispatcher_id
        self._eager = eager
        self._done = done
        self._room = room
        self._unanswered: set[Unanswered] = set()
        self._waiting: deque[Unanswered] = deque()
        self._answered_at = -math.inf  # when a call was last, for all of its outcomes
        self._most = _BATCH  # outcomes of one call; fewer after a call that failed
        self._on_their_way = 0  # calls
        self._begun_at = -math.inf  # when the last call was; by the loop's clock
        self._gathering: asyncio.TimerHandle | None = None
        self._is_hurried = False
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._backoff = Backoff()
        self._calls = asyncio.TaskGroup()
        self._apart: set[Unanswered] = set()  # their calls failed with each of them alone
        self._trouble = Trouble(_log, "outcomes wait")
        self._refused = Trouble(_log, "an outcome is refused, also by itself")

    def report(self, in_hand: InHand, outcome: pb.TaskOutcome) -> None:
        """Take an outcome, to be sent in the background."""
        now, is_late = time.monotonic(), in_hand.lost or in_hand.ended
        in_hand.ended_at = min(in_hand.ended_at, now)
        self._take(Unanswered(in_hand, outcome, now, is_late))

    def unanswered(self) -> frozenset[Unanswered]:
        """Return the outcomes that are taken and not answered yet; from any thread."""
        return frozenset(self._unanswered)

    def _take(self, one: Unanswered) -> None:
        self._eager.expect(one.in_hand, one.outcome)
        self._unanswered.add(one)
        self._waiting.append(one)
        self._idle.clear()
        if self._is_worth_a_look():
            self._more.set()

    async def flush(self) -> None:
        """Wait until no outcome is left to send; none waits for others."""
        self._is_hurried = True
        self._more.set()
        try:
            await self._idle.wait()
        finally:
            self._is_hurried = False

    async def run(self) -> None:
        """Send batches until cancelled; a failed call is repeated for ever."""
        async with self._calls:
            while True:
                await self._more.wait()
                await self._wait_for_more()
                self._more.clear()  # what has come by now is looked at before the next wait
                while self._waiting and self._is_time_for_a_call():
                    self._note_begin()
                    self._calls.create_task(self._call(self._next_batch()))

    def _is_worth_a_look(self) -> bool:
        """Return whether a call may begin; else ``run`` looks once what it waits for is over."""
        if self._on_their_way:
            return self._is_time_for_a_second()
        return self._gathering is None or not self._may_gather(asyncio.get_running_loop().time())

    def _is_time_for_a_call(self) -> bool:
        return self._is_time_for_a_second() if self._on_their_way else not self._gathers()

    def _is_time_for_a_second(self) -> bool:
        return self._on_their_way == 1 and len(self._waiting) >= _SECOND

    def _may_gather(self, now: float) -> bool:
        """Return whether outcomes may wait for others, as long as there is time for it."""
        if self._is_hurried or len(self._waiting) >= _ENOUGH:
            return False
        return self._room.is_at_work(now)

    def _note_begin(self) -> None:
        self._on_their_way += 1
        self._begun_at = asyncio.get_running_loop().time()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _gathers(self) -> bool:
        """Return whether outcomes wait for others; if so, they are looked at again in time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        rest = self._begun_at + _GATHER - now
        if rest <= 0 or not self._may_gather(now):
            return False
        if self._gathering is None:
            self._gathering = loop.call_later(rest, self._have_gathered)
        return True

    def _have_gathered(self) -> None:
        # The timer itself says so. By the loop's clock, of whole milliseconds, it may not be quite.
        self._gathering, self._begun_at = None, -math.inf
        self._more.set()

    async def _wait_for_more(self) -> None:
        """Wait while each turn of the loop brings more outcomes, as many quick handlers do."""
        gathered = 0
        while gathered < len(self._waiting) < _BATCH:
            gathered = len(self._waiting)
            await asyncio.sleep(0)

    def _next_batch(self) -> list[Unanswered]:
        batch: list[Unanswered] = []
        size = 0
        while self._waiting and len(batch) < self._most and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1].outcome.ByteSize()
        return batch

    async def _call(self, batch: list[Unanswered]) -> None:
        try:
            problem = await self._send(batch)
            if problem is None:
                self._note_answer()
                self._most = min(2 * self._most, _BATCH)
            else:
                self._trouble.met(problem)
                if batch[0] not in self._apart:
                    await self._backoff.wait()
        finally:
            self._on_their_way -= 1
            self._more.set()
            self._note_whether_idle()

    async def _send_apart(self, one: Unanswered) -> None:
        """Send one whose call failed with it alone, until it is answered or given up."""
        patience = Backoff()
        while one in self._unanswered:
            await patience.wait()
            if await self._send([one]) is None:
                self._note_answer()
        self._apart.discard(one)
        if not self._apart:
            self._refused.over()
        self._note_whether_idle()

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()
        self._trouble.over()
        self._backoff.reset()

    def _note_whether_idle(self) -> None:
        if not self._waiting and not self._on_their_way and not self._apart:
            self._idle.set()

    async def _send(self, batch: list[Unanswered]) -> object | None:
        """Send a batch. Return why some of it has to be sent again; None if all was answered."""
        tasks = [each.in_hand for each in batch]
        request = pb.ReportTasksRequest(
            dispatcher_id=self._dispatcher_id, outcomes=[each.outcome for each in batch]
        )
        self._eager.ask(tasks, request)
        batch[0].sent_at = time.monotonic()
        report = self._reports.apart if batch[0] in self._apart else self._reports.together
        try:
            response, leased = await report(request, _TIMEOUT)
        except grpc.RpcError as error:
            return self._put_back(batch, from_call(error))
        except ZartError as error:  # of one request in a stream
            return self._put_back(batch, error)
        except asyncio.CancelledError:  # raised, too, by a channel that was closed
            if is_cancelled():
                raise
            return self._put_back(batch, "the connection was closed")
        except Exception as error:  # noqa: BLE001 - no error may lose outcomes
            return self._put_back(batch, repr(error))
        self._eager.answered(tasks, leased)
        if len(response.results) != len(batch):
            # Not a zart server, or a proxy cut the answer.
            return self._put_back(batch, f"{len(response.results)} results for {len(batch)}")
        unanswered = []
        for each, result in zip(batch, response.results, strict=True):
            if result.status == pb.REPORT_STATUS_RECORDED:
                self._settle(each)
            elif result.status == pb.REPORT_STATUS_UNSPECIFIED:
                unanswered.append(each)
            else:
                self._conclude(each, result)
        return self._put_back(unanswered, "some were not answered for") if unanswered else None

    def _put_back(self, batch: Sequence[Unanswered], why: object) -> object:
        """Put outcomes back for later calls of half as many; one that failed alone is sent apart.

        When many have failed alone, the server may be the reason: the others wait, and go last. The
        room that was kept for eager dispatch is freed: the wish to lease may be the reason, too.

        One that fails alone is dropped once it is hopeless. The server extends no lease beyond the
        step's timeout, and late outcomes are given up too: so none is sent for ever.
        """
        self._eager.given_up(each.in_hand for each in batch)
        if batch[0] not in self._apart:
            self._most = max(1, len(batch) // 2)
        if len(batch) > 1:
            self._waiting.extendleft(reversed(batch))
            return why
        (one,) = batch
        one.refused(time.monotonic(), self._answered_at)
        if one.is_hopeless:
            told = "%s: the lease was lost, its outcome is dropped: %s"
            _log.error(told, one.where, why, extra=fields_of(one.in_hand))
            self._unanswered.discard(one)
            if all(each.in_hand is not one.in_hand for each in self._unanswered):
                self._done(one.in_hand)
            return why
        self._refused.met(f"{one.where}: {why}", fields_of(one.in_hand))
        if one not in self._apart:
            if len(self._apart) < _APART:
                self._apart.add(one)
                self._calls.create_task(self._send_apart(one))
            else:
                self._waiting.append(one)
        return why

    def _settle(self, one: Unanswered) -> None:
        self._unanswered.discard(one)
        self._done(one.in_hand)

    def _conclude(self, one: Unanswered, result: pb.ReportResult) -> None:
        in_hand = one.in_hand
        if result.status == pb.REPORT_STATUS_LEASE_LOST:
            told = "%s: the lease was lost, its outcome is dropped"
            _log.warning(told, one.where, extra=fields_of(in_hand))
        elif result.status == pb.REPORT_STATUS_REJECTED:
            told = "%s: the outcome was rejected: %s"
            _log.warning(told, one.where, result.error, extra=fields_of(in_hand))
            if not is_rejection(one.outcome):
                # It has waited for as long as the one that was rejected.
                told_why = rejected(in_hand, one.outcome, result.error)
                self._unanswered.discard(one)
                self._take(Unanswered(in_hand, told_why, one.since, one.is_late))
                return
        self._settle(one)
