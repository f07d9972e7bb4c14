"""What is given back unbegun stands in its lane where it stood before, not behind the backlog."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from releasing import paused
from rig import LONG, Rig, eventually
from streaming import Stream, lease_request

import zart
from zart.models import LeasedTask
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.domain.dispatch import LeaseTasks

_NOT_BEGUN = zart.Released(not_begun=True)
_TAKES_LITTLE = [("grpc.max_receive_message_length", 100_000), ("grpc.http2.bdp_probe", 0)]
_IS_QUEUED = "SELECT EXISTS (SELECT FROM zart.queue WHERE step_name = $1)"
_PLACE = "SELECT not_before, queue_no FROM zart.{} WHERE step_name = $1"


@pytest.fixture
async def lane(rig: Rig) -> Rig:
    """Six steps of one handler, which is one lane."""
    await rig.start("x", {f"s{n}": () for n in range(6)}, handler="h")
    return rig


async def given_back(rig: Rig, ending: zart.Released, *tasks: LeasedTask | pb.LeasedTask) -> None:
    outcomes = [zart.Outcome(task.task_id, task.lease_token, ending) for task in tasks]
    assert {result.status for result in await rig.report(*outcomes)} == {"RECORDED"}


async def names(rig: Rig, count: int) -> list[str]:
    return [task.step_name for task in await rig.lease(count)]


async def test_they_are_the_next_in_their_order(lane: Rig) -> None:
    """Also for claims that go on where the last one came to."""
    before = await lane.db.fetch("SELECT step_name, not_before, queue_no FROM zart.queue")
    first = await lane.lease(3)
    assert await names(lane, 1) == ["s3"]
    await given_back(lane, _NOT_BEGUN, *reversed(first))

    after = await lane.db.fetch("SELECT step_name, not_before, queue_no FROM zart.queue")
    assert set(after) == {row for row in before if row["step_name"] != "s3"}
    assert await names(lane, 4) == ["s0", "s1", "s2", "s4"]


async def test_it_is_scheduled_anew_all_the_same(lane: Rig) -> None:
    """Whoever selects what was SCHEDULED at a moment at which it was RUNNING must not find it."""
    (task,) = await lane.lease(1)
    await given_back(lane, _NOT_BEGUN, task)

    step = await lane.client.get_step("x", "s0")
    leased_at = step.attempts[0].started_at
    assert step.scheduled_at is not None
    assert step.not_before is not None
    assert leased_at is not None
    assert step.not_before < leased_at < step.scheduled_at


@pytest.mark.parametrize(
    "ending",
    [zart.Released(), zart.Released(0.0, not_begun=True), zart.Released(0.001, not_begun=True)],
    ids=["begun", "now", "later"],
)
async def test_what_may_have_begun_or_says_when_goes_to_the_end(
    lane: Rig, ending: zart.Released
) -> None:
    await given_back(lane, ending, *await lane.lease(1))

    assert await names(lane, 5) == ["s1", "s2", "s3", "s4", "s5"]


async def test_who_gives_the_first_one_back_again_and_again_keeps_nobody_waiting(
    lane: Rig,
) -> None:
    """Failures do not count for that."""
    for _ in range(2):
        (task,) = await lane.lease(1)
        assert task.step_name == "s0"
        await given_back(lane, _NOT_BEGUN, task)
    (task,) = await lane.lease(1)
    assert (task.step_name, task.attempt) == ("s0", 3)
    await given_back(lane, _NOT_BEGUN, task)

    assert await names(lane, 6) == ["s1", "s2", "s3", "s4", "s5", "s0"]


async def test_failed_attempts_do_not_count_as_given_back(lane: Rig) -> None:
    for _ in range(2):
        (task,) = [each for each in await lane.lease(6) if each.step_name == "s0"]
        assert await lane.fail(task, retryable=True) == "RECORDED"
    await lane.start("y", {"s": ()}, handler="h")
    task = await lane.lease_one("s0")
    place = await lane.db.fetchrow(_PLACE.format("leases"), "s0")
    await given_back(lane, _NOT_BEGUN, task)

    assert await lane.db.fetchrow(_PLACE.format("queue"), "s0") == place


async def on_the_server(server: ServerUnderTest, working: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(working, server.loop))


async def undelivered(server: ServerUnderTest, times: int, *, not_begun: bool) -> None:
    """Have the server lease the first step so often, and give it back."""
    dispatch = server.running.runtime.dispatch
    wanted = LeaseTasks("d", ("t",), (), 1, timedelta(seconds=LONG), timedelta(seconds=LONG))
    for number in range(1, times + 1):
        (task,) = await on_the_server(server, dispatch.lease(wanted))
        assert (task.step.step_name, task.attempt) == ("s0", number)
        await on_the_server(server, dispatch.release([task], "", not_begun=not_begun))


async def test_what_the_server_never_sent_keeps_its_place_however_often(
    lane: Rig, zart_server: ServerUnderTest
) -> None:
    await undelivered(zart_server, 4, not_begun=True)

    assert await names(lane, 1) == ["s0"]


async def test_what_cannot_be_delivered_keeps_nobody_waiting(
    lane: Rig, zart_server: ServerUnderTest
) -> None:
    """As a step whose answer its dispatcher takes for too large: it ends the stream each time."""
    await undelivered(zart_server, 3, not_begun=False)

    assert await names(lane, 6) == ["s1", "s2", "s3", "s4", "s5", "s0"]


async def test_an_answer_that_is_too_large_for_its_stream_keeps_nobody_waiting(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    async def is_back() -> bool:
        return bool(await rig.db.fetchval(_IS_QUEUED, "large"))

    large, small = {"large": ()}, {"small": ()}
    await rig.start("x", large, handler="h", payload="x" * 1_000_000)
    await rig.start("y", small, handler="h")
    for _ in range(3):
        async with grpc.aio.insecure_channel(zart_server.address, _TAKES_LITTLE) as channel:
            stream = Stream(channel)
            await stream.send(lease=lease_request(max_tasks=1))
            assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await eventually(is_back)

    assert await names(rig, 1) == ["small"]


async def test_what_was_never_queued_stands_since_it_was_leased(rig: Rig) -> None:
    """It gets a number then, as each place in a line differs."""
    await rig.start("x", {"a": (), "b": ("a",), "c": ("a",)}, handler="h")
    (first,) = await rig.lease()
    request = pb.ReportTasksRequest(dispatcher_id="d")
    request.lease_next.CopyFrom(pb.LeaseNext(task_names=["t"], max_tasks=2))
    request.outcomes.add(task_id=first.task_id, lease_token=first.lease_token)
    request.outcomes[0].completed.result_json = "1"
    answer = await DispatchServiceStub(rig.client.channel).ReportTasks(request)
    assert len(answer.tasks) == 2
    await rig.start("y", {"s": ()}, handler="h")
    await given_back(rig, _NOT_BEGUN, *answer.tasks)

    rows = await rig.db.fetch("SELECT step_name, queue_no FROM zart.queue ORDER BY not_before")
    assert {row["step_name"] for row in rows[:2]} == {"b", "c"}
    assert len({row["queue_no"] for row in rows} - {0}) == 3
    assert await names(rig, 3) == [*sorted("bc"), "s"]


async def test_under_a_rule_it_is_the_first_to_go(lane: Rig) -> None:
    (task,) = await lane.lease(1)
    rule_id = await paused(lane)
    place = await lane.db.fetchrow(_PLACE.format("leases"), "s0")
    await given_back(lane, _NOT_BEGUN, task)

    assert await lane.db.fetchrow(_PLACE.format("held"), "s0") == place
    await lane.client.resume(rule_id=rule_id, canary=1)
    assert await names(lane, 6) == ["s0"]
