"""A dispatcher at work makes few calls: what becomes ready or ends gathers for ten milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from standing_clock import StandingClock

import zart
from zart.dispatcher.arrivals import Reports
from zart.dispatcher.eager_dispatch import EagerDispatch
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.leasing import Leasing, _has_all
from zart.dispatcher.outcomes import completed
from zart.dispatcher.pace import Pace
from zart.dispatcher.reporting import Reporter
from zart.dispatcher.room import Room
from zart.v1 import dispatch_service_pb2 as pb

TASK = zart.Task("t")
TASK.step(name="a")(lambda _: None)


def running(play: Callable[[StandingClock], Coroutine[Any, Any, None]]) -> None:
    """Play a scene on a loop whose clock the scene moves on."""
    with contextlib.closing(StandingClock()) as clock:
        clock.run_until_complete(play(clock))


class Reporting:
    """A reporter, so many busy slots, and a server that answers at once while its gate is open."""

    def __init__(self, busy: int) -> None:
        self.sizes: list[int] = []  # of the calls
        self.busy = [None] * busy
        self.gate = asyncio.Event()
        self.gate.set()
        room = Room(256, Pace(256), self.busy, self.busy)
        eager = EagerDispatch([TASK], 30.0, room, lambda _: None, asyncio.Event(), lambda: None)
        self.reporter = Reporter(
            Reports(self._answer, self._answer), "d", eager, lambda _: None, room
        )

    async def _answer(
        self, request: pb.ReportTasksRequest, _timeout: float
    ) -> tuple[pb.ReportTasksResponse, list[InHand]]:
        self.sizes.append(len(request.outcomes))
        await self.gate.wait()
        results = [pb.ReportResult(status=pb.REPORT_STATUS_RECORDED) for _ in request.outcomes]
        return pb.ReportTasksResponse(results=results), []

    async def gather(self, clock: StandingClock) -> None:
        """Report one outcome, which goes at once, and one that waits for others."""
        for _ in range(2):
            self.tell(1)
            await clock.at_rest()

    def tell(self, count: int) -> None:
        """Report so many outcomes."""
        tasks = [pb.LeasedTask(task_name="t", step_name="a") for _ in range(count)]
        for in_hand in in_hand_of(tasks, 0.0):
            self.reporter.report(in_hand, completed(in_hand, None))


@contextlib.asynccontextmanager
async def reporting(busy: int) -> AsyncIterator[Reporting]:
    made = Reporting(busy)
    running = asyncio.create_task(made.reporter.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_outcomes_of_many_slots_gather_from_the_begin_of_each_call() -> None:
    async def play(clock: StandingClock) -> None:
        async with reporting(busy=32) as made:
            made.tell(1)
            await clock.at_rest()
            assert made.sizes == [1]  # the first at once
            made.tell(2)
            await clock.passed(0.005)
            made.tell(3)
            await clock.passed(0.004)
            assert made.sizes == [1]
            await clock.passed(0.001)
            assert made.sizes == [1, 5]
            await clock.passed(0.010)
            made.tell(1)
            await clock.at_rest()
            assert made.sizes == [1, 5, 1]  # a moment in which nothing ended was one, too

    running(play)


def test_many_outcomes_wait_for_no_others_and_the_next_ones_wait_their_whole_time() -> None:
    async def play(clock: StandingClock) -> None:
        async with reporting(busy=32) as made:
            made.tell(1)
            await clock.at_rest()
            made.tell(47)
            await clock.passed(0.005)
            assert made.sizes == [1]
            made.tell(1)
            await clock.at_rest()
            assert made.sizes == [1, 48]
            made.tell(1)
            await clock.passed(0.009)  # past the end of the first time
            assert made.sizes == [1, 48]
            await clock.passed(0.001)
            assert made.sizes == [1, 48, 1]

    running(play)


def test_outcomes_of_few_slots_wait_for_no_others() -> None:
    async def play(clock: StandingClock) -> None:
        async with reporting(busy=31) as made:
            for calls in range(1, 4):
                made.tell(1)
                await clock.at_rest()
                assert made.sizes == [1] * calls

        async with reporting(busy=32) as made:
            await made.gather(clock)
            del made.busy[0]
            made.tell(1)
            await clock.at_rest()
            assert made.sizes == [1, 2]

    running(play)


def test_whoever_waits_for_the_last_outcome_has_all_sent_at_once() -> None:
    async def play(clock: StandingClock) -> None:
        async with reporting(busy=32) as made:
            await made.gather(clock)
            assert made.sizes == [1]
            flushing = asyncio.create_task(made.reporter.flush())
            await clock.at_rest()
            assert made.sizes == [1, 1]
            await flushing
            made.tell(1)
            await clock.at_rest()
            assert made.sizes == [1, 1]

    running(play)


def test_an_outcome_that_only_gathers_has_nobody_look() -> None:
    async def play(clock: StandingClock) -> None:
        async with reporting(busy=32) as made:
            await made.gather(clock)
            made.tell(46)
            assert not made.reporter._more.is_set()
            made.tell(1)
            assert made.reporter._more.is_set()
            await clock.at_rest()
            assert made.sizes == [1, 48]

    running(play)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_between_no_outcome_is_left_lying(seed: int) -> None:
    chance = random.Random(seed)

    async def play(clock: StandingClock) -> None:
        told = 0
        async with reporting(busy=32) as made:
            for _ in range(100):
                match chance.randrange(5):
                    case 0 | 1:
                        told += (count := chance.choice((1, 1, 2, 47, 249)))
                        made.tell(count)
                    case 2:
                        made.busy[:] = [None] * chance.choice((0, 31, 32, 256))
                    case 3:
                        (made.gate.clear if made.gate.is_set() else made.gate.set)()
                    case _:
                        await clock.passed(chance.choice((0.0, 0.001, 0.009)))
            made.gate.set()
            await clock.at_rest()
            await clock.passed(0.011)
            assert sum(made.sizes) == told

    running(play)


def test_an_answer_of_large_tasks_may_not_have_had_all() -> None:
    large = pb.LeasedTask(payload_json="x" * 2**20)
    assert _has_all(in_hand_of([large] * 3, 0.0), 200)
    assert not _has_all(in_hand_of([large] * 4, 0.0), 200)
    assert not _has_all(in_hand_of([pb.LeasedTask()] * 200, 0.0), 200)
    assert _has_all([], 200)


def test_tasks_gather_after_an_answer_that_had_all_there_were() -> None:
    async def play(clock: StandingClock) -> None:
        asked, stop, most = list[int](), asyncio.Event(), [0]

        async def lease(request: pb.LeaseTasksRequest, _timeout: float) -> list[InHand]:
            asked.append(request.max_tasks)
            return in_hand_of([pb.LeasedTask()] * min(request.max_tasks, most[0]), 0.0)

        busy = [None] * 32
        room = Room(256, Pace(256), busy, busy)
        leasing = Leasing(lease, "d", [TASK], 30.0, room, lambda _: None, 3.0, lambda _: None)
        running = asyncio.create_task(leasing.run(stop))
        for answers in range(1, 4):
            await clock.at_rest()
            leasing.look()  # as tasks end meanwhile
            await clock.passed(0.009)
            assert asked == [224] * answers
            most[0] = 1
            await clock.passed(0.001)
        most[0] = 224
        await clock.passed(0.010)
        assert len(asked) > 5  # full ones are followed by the next call at once
        stop.set()
        leasing.look()
        await running

    running(play)
