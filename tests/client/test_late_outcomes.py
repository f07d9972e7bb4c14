"""What is told after a lease was lost, or as a second outcome: sent for long, but not for ever."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing

import grpc
import pytest
from between import Between, Refusal
from client.test_reporting import Reporting, reporting
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, block_until, eventually, for_ever, until

import zart
from zart.dispatcher import unanswered
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import completed, timed_out
from zart.dispatcher.threads import Threads
from zart.dispatcher.unanswered import Unanswered
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

MINDED = 7


def in_hand(number: int = MINDED) -> InHand:
    (found,) = in_hand_of(
        [pb.LeasedTask(task_id=str(number), run_id="x:run:0", step_name="a")], 0.0
    )
    return found


def late(made: Reporting) -> InHand:
    """Report what a step told whose lease was lost."""
    one = in_hand()
    one.tells_late = one.lost = True
    made.reporter.report(one, completed(one, "receipt"))
    return one


async def refused(made: Reporting, times: int) -> None:
    """Wait until calls were refused so many times more."""
    least = len(made.server.asked_for) + times
    await until(lambda: len(made.server.asked_for) >= least)


async def test_two_outcomes_of_one_attempt_that_are_refused_are_sent_with_waits_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delays: list[float] = []
    delay = Backoff.delay

    def noted(backoff: Backoff) -> float:
        delays.append(delay(backoff))
        return delays[-1]

    monkeypatch.setattr(Backoff, "delay", noted)
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = MINDED
        one = in_hand()
        made.reporter.report(one, timed_out(one))
        await refused(made, 1)
        made.reporter.report(one, completed(one, "in the end"))
        await refused(made, 8)
        assert len(delays) >= len(made.server.asked_for) - 2  # the first of each waits for none
        made.server.minded = -1
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert made.done == [one, one]


async def test_a_late_outcome_that_alone_is_refused_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unanswered, "_REFUSED", 0.2)
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = MINDED
        one = late(made)
        await refused(made, 1)
        assert [each.in_hand for each in made.reporter.unanswered()] == [one]
        number = 100
        async with asyncio.timeout(GIVE_UP):
            while one not in made.done:
                made.report(1, first=number)
                number += 1
                await refused(made, 1)
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert not made.reporter.unanswered()


async def test_a_late_outcome_is_kept_while_nothing_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unanswered, "_REFUSED", 1e-9)
    async with reporting() as made:
        made.server.gate.set()
        made.report(1)
        await until(lambda: made.done)
        made.server.minded = MINDED
        one = late(made)
        await refused(made, 5)
        assert one not in made.done
        made.server.minded = -1
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert [outcome for call in made.server.asked_for for outcome in call].count("7") >= 6
    assert one in made.done


@pytest.mark.parametrize("tells_late", [True, False])
async def test_what_the_server_has_given_up_is_kept_where_it_is_evidence(
    monkeypatch: pytest.MonkeyPatch, *, tells_late: bool
) -> None:
    monkeypatch.setattr(unanswered, "_REFUSED", 1e-9)
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = MINDED
        one = in_hand()
        one.tells_late, one.given_up = tells_late, True
        made.reporter.report(one, completed(one, "receipt"))
        await refused(made, 1)
        if tells_late:
            await refused(made, 2)
            assert one not in made.done
            made.server.minded = -1
        await until(lambda: one in made.done)
        assert len(made.server.asked_for) == 1 or tells_late


def test_only_what_is_refused_at_once_beside_others_that_are_answered_counts() -> None:
    one = Unanswered(in_hand(), pb.TaskOutcome(), 0.0, is_late=True)
    now = 1000.0

    def refuse(after: float, answered_before: float | None, took: float = 0.1) -> None:
        nonlocal now
        now += after
        one.sent_at = now - took
        one.refused(now, float("-inf") if answered_before is None else now - answered_before)

    refuse(0.0, 1.0)  # the first: there is no time between two
    for _ in range(1000):
        refuse(5.0, None)  # none was answered
        refuse(5.0, 7.0)  # not since the time before
        refuse(12.0, 1.0, took=10.0)  # its run is locked
    assert not one.is_hopeless
    refuse(3600.0, 1.0)  # the process stood still
    assert not one.is_hopeless
    for _ in range(113):
        refuse(5.0, 1.0)
    assert not one.is_hopeless
    refuse(5.0, 1.0)
    assert one.is_hopeless
    one.is_late = False
    assert not one.is_hopeless


async def test_what_an_async_step_says_as_its_time_is_up_is_told_later(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(once=True, timeout=0.2)
    async def pay(_: zart.StepContext) -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise zart.StepFailed("the charge was taken back") from None

    async def is_told() -> bool:
        return any(item.late_outcome for item in await rig.client.list_in_doubt())

    async with dispatching(zart_server, task):
        await start(rig, task)
        await eventually(is_told)
    (item,) = await rig.client.list_in_doubt()
    assert item.ended_as == "TIMED_OUT"
    assert item.late_outcome is not None
    assert item.late_outcome.status == "FAILED"
    assert item.late_outcome.error is not None
    assert item.late_outcome.error.message == "the charge was taken back"


@pytest.mark.parametrize(
    ("once", "says", "told"),
    [
        (True, True, ["timed_out", "failed"]),
        (True, False, ["timed_out"]),
        (False, True, ["timed_out"]),
    ],
)
async def test_only_what_a_step_that_runs_once_says_itself_is_told_later(
    *, once: bool, says: bool, told: list[str]
) -> None:
    task, begun, found = zart.Task("t"), asyncio.Event(), list[str | None]()

    @task.step(once=once)
    async def pay(_: zart.StepContext) -> None:
        begun.set()
        try:
            await for_ever()
        except asyncio.CancelledError:
            if says:
                raise zart.StepFailed("no") from None
            raise

    def tell(_: InHand, outcome: pb.TaskOutcome) -> None:
        found.append(outcome.WhichOneof("outcome"))

    one = in_hand()
    with closing(Threads(1)) as threads:
        one.running = asyncio.create_task(run_handler(one, pay, threads, tell))
        await asyncio.wait_for(begun.wait(), GIVE_UP)
        one.expire()
        await asyncio.wait_for(one.running, GIVE_UP)
    assert found == told


async def test_a_second_outcome_that_nobody_lets_through_counts_and_is_given_up(
    rig: Rig,
    zart_server: ServerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The step's time is up, which is recorded; what it tells later is refused by a proxy."""
    caplog.set_level(logging.ERROR, "zart.dispatcher.reporting")
    monkeypatch.setattr(unanswered, "_REFUSED", 0.5)
    task, stop = zart.Task("t"), asyncio.Event()
    may_tell = False

    @task.step(once=True, timeout=0.2)
    def pay(ctx: zart.StepContext) -> str:
        block_until(lambda: may_tell)
        return "receipt"

    @task.step()
    async def quick(ctx: zart.StepContext) -> None:
        pass

    def refuse(method: str, request: bytes) -> Refusal | None:
        is_minded = method == "ReportTasks" and b"receipt" in request
        return Refusal(grpc.StatusCode.INTERNAL) if is_minded else None

    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address, lease=3.0)
        running = asyncio.create_task(dispatcher.run(stop))
        await start(rig, task)

        async def is_in_doubt() -> bool:
            return (await rig.client.get_step("x", "pay")).in_doubt

        await eventually(is_in_doubt)
        await until(lambda: dispatcher.figures().outcomes == 0)
        may_tell = True
        await until(lambda: dispatcher.figures().outcomes == 1)
        assert dispatcher.figures().oldest_outcome > 0
        await until(lambda: proxy.refused["ReportTasks"] >= 3)
        steps, number = [zart.StepSpec("quick")], 0
        async with asyncio.timeout(GIVE_UP):
            while dispatcher.figures().outcomes:
                number += 1
                one = await rig.client.start("t", execution_id=f"y{number}", steps=steps)
                await one.result(timeout=GIVE_UP)
        stop.set()
        await running
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("x:run:0/pay: the lease was lost, its outcome is dropped: ")
