"""How outcomes are sent: at once when there is one, in few calls when there are many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from rig import eventually
from waiting import GIVE_UP

import zart
from zart.calls.call import span
from zart.channel import aio_channel
from zart.dispatcher.arrivals import InTheLoop
from zart.dispatcher.eager_dispatch import EagerDispatch
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import completed
from zart.dispatcher.pace import Pace
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.reporting import Reporter
from zart.dispatcher.room import Room
from zart.dispatcher.unanswered import Unanswered
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc as services

TASK = zart.Task("t")
TASK.step(name="a")(lambda _: None)
TASK.step(name="b", depends_on=["a"])(lambda _: None)


class SlowServer(services.DispatchServiceServicer):
    """Records outcomes when it is let."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.wishes: list[int] = []
        self.queued: list[bool] = []
        self.gate = asyncio.Event()
        self.minded = -1  # it refuses the outcome of this number
        self.held: set[str] = set()  # it refuses these, too, once it lets them go
        self.let_go = asyncio.Event()
        self.status = pb.REPORT_STATUS_RECORDED
        self.asked_for: list[list[str]] = []

    async def ReportTasks(
        self, request: pb.ReportTasksRequest, context: Any
    ) -> pb.ReportTasksResponse:
        """Take a batch."""
        self.asked_for.append([outcome.task_id for outcome in request.outcomes])
        if str(self.minded) in self.asked_for[-1]:
            await context.abort(grpc.StatusCode.UNKNOWN, "minds it")
        if self.held.intersection(self.asked_for[-1]):
            await self.let_go.wait()
            await context.abort(grpc.StatusCode.UNKNOWN, "held it")
        self.sizes.append(len(request.outcomes))
        self.wishes.append(request.lease_next.max_tasks)
        self.queued += [outcome.queue_next for outcome in request.outcomes]
        await self.gate.wait()
        results = [
            pb.ReportResult(task_id=outcome.task_id, status=self.status)
            for outcome in request.outcomes
        ]
        wish = request.lease_next
        tasks = [
            pb.LeasedTask(run_id=str(n), timeout=span(60), lease_ttl=wish.lease_duration)
            for n in range(wish.max_tasks)
        ]
        return pb.ReportTasksResponse(results=results, tasks=tasks)


class Reporting:
    """A reporter and its server."""

    def __init__(self, server: SlowServer, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.done: list[InHand] = []
        self.busy: list[InHand] = []
        stub = services.DispatchServiceStub(channel)
        pace = Pace(16)
        room = Room(16, pace, self.busy, self.busy)
        self.stop = asyncio.Event()
        self.freed = 0
        self.eager = EagerDispatch(
            [TASK], 30.0, room, self.busy.extend, self.stop, self._note_freed
        )
        reports = InTheLoop(stub, Pulse(30.0, in_threads=False)).reports
        self.reporter = Reporter(reports, "d", self.eager, self.done.append, room)
        self.room = room

    def _note_freed(self) -> None:
        self.freed += 1

    def report(
        self, count: int, *, leads_on: bool = False, in_a_row: int = 0, first: int = 0
    ) -> None:
        """Report so many outcomes."""
        now = asyncio.get_running_loop().time()
        for n in range(first, first + count):
            task = pb.LeasedTask(
                task_id=str(n),
                run_id=str(n),
                task_name="t",
                step_name="a" if leads_on else "b",
                timeout=span(60),
                lease_ttl=span(30),
            )
            (in_hand,) = in_hand_of([task], now)
            in_hand.in_a_row = in_a_row
            self.reporter.report(in_hand, completed(in_hand, n))

    async def calls(self, *sizes: int) -> None:
        """Wait until the server has had these calls."""

        async def made() -> bool:
            return len(self.server.sizes) >= len(sizes)

        await eventually(made)
        assert self.server.sizes == list(sizes)


@contextlib.asynccontextmanager
async def reporting() -> AsyncIterator[Reporting]:
    server = grpc.aio.server()
    servicer = SlowServer()  # type: ignore[abstract]  # it is asked for nothing else
    services.add_DispatchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio_channel(f"127.0.0.1:{port}") as channel:
        made = Reporting(servicer, channel)
        running = asyncio.create_task(made.reporter.run())
        try:
            yield made
        finally:
            servicer.gate.set()
            await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.stop(None)


async def some_turns() -> None:
    """Let the reporter do what it would do at once."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_outcome_is_sent_at_once_and_the_next_ones_wait_for_its_answer() -> None:
    async with reporting() as made:
        made.report(1)
        await made.calls(1)
        made.report(2)
        await some_turns()
        made.report(3)
        await some_turns()
        assert made.done == []
        made.server.gate.set()
        await made.calls(1, 5)
    assert len(made.done) == 6


async def test_a_second_call_goes_out_beside_the_first_for_many_and_no_third() -> None:
    async with reporting() as made:
        made.report(1)
        await made.calls(1)
        made.report(300)
        await made.calls(1, 300)
        made.report(2500)
        await some_turns()
        assert made.reporter._on_their_way == 2
        made.server.gate.set()
        await made.calls(1, 300, 1000, 1000, 500)
    assert len(made.done) == 2801


async def test_outcomes_have_nobody_look_while_a_call_is_under_way_unless_they_are_many() -> None:
    async with reporting() as made:
        made.report(1)
        await made.calls(1)
        made.report(249)
        assert not made.reporter._more.is_set()
        made.report(1)
        assert made.reporter._more.is_set()
        await made.calls(1, 250)


async def test_what_a_crowd_of_quick_handlers_tells_turn_by_turn_goes_in_one_call() -> None:
    async with reporting() as made:
        for _ in range(10):
            made.report(40)
            await asyncio.sleep(0)
        await made.calls(400)


async def test_the_next_step_is_taken_on_where_one_may_follow_and_a_slot_is_free() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.report(3, leads_on=True)
        made.report(2)
        assert made.room.expected == 3
        await made.calls(5)
        await made.reporter.flush()
        assert (made.server.wishes, made.room.expected, len(made.busy)) == ([3], 0, 3)
        assert [each.in_a_row for each in made.busy] == [1, 1, 1]
        made.room.asked = 12  # and three run: one slot is free
        made.report(2, leads_on=True, in_a_row=4)
        await made.calls(5, 2)
        await made.reporter.flush()
        assert (made.server.wishes[1:], made.busy[-1].in_a_row) == ([1], 5)
        made.report(2)
        await made.calls(5, 2, 2)
        assert made.server.wishes[2:] == [0]


async def test_a_long_chain_lets_what_has_waited_longer_pass_now_and_then() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.report(1, leads_on=True, in_a_row=15)
        made.report(1, leads_on=True, in_a_row=16)
        await made.calls(2)
    assert (made.server.wishes, made.server.queued) == ([1], [False, True])


async def test_a_dispatcher_that_stops_takes_nothing_on() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.report(1, leads_on=True)
        made.stop.set()
        await made.calls(1)
    assert (made.server.wishes, made.room.expected) == ([0], 0)


async def test_an_outcome_that_is_rejected_has_waited_since_its_step_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with reporting() as made:
        taken, take = list[Unanswered](), made.reporter._take

        def noted(one: Unanswered) -> None:
            taken.append(one)
            take(one)

        monkeypatch.setattr(made.reporter, "_take", noted)
        made.server.gate.set()
        made.server.status = pb.REPORT_STATUS_REJECTED
        made.report(1)
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert made.server.asked_for == [["0"], ["0"]]  # with the step's outcome, and with why not
    first, second = taken
    assert first.since == second.since == second.in_hand.ended_at
    assert not second.is_late
