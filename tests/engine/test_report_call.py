"""A call leases no more than it asked for and than fits, however many parts it is recorded in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import pytest
from rig import CHAIN, LONG, Rig

import zart
from zart.models import LeasedTask
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.domain.dispatch import Completed, LeaseNext, Outcome
from zart_server.engine.dispatch import report_call
from zart_server.engine.dispatch.report_call import ReportCall, end_shares, lend_to

LARGE = 900_000  # bytes: of four such, with what is beside them, 4 MiB have room
# Runs of whose executions the id begins with a y.
OTHERS = (
    "SELECT FROM zart.runs r JOIN zart.executions e USING (execution_key)"
    " WHERE e.execution_id LIKE 'y%' FOR NO KEY UPDATE OF r"
)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no lease given back because an answer takes long on this machine."""
    monkeypatch.setattr(report_call, "_WITHHELD", LONG)


async def report(
    rig: Rig, tasks: Iterable[LeasedTask], most: int, result: str = "1"
) -> pb.ReportTasksResponse:
    """Complete tasks by one call, which leases so many of what follows."""
    wish = pb.LeaseNext(task_names=["t"], max_tasks=most)
    wish.lease_duration.FromSeconds(3600)
    request = pb.ReportTasksRequest(dispatcher_id="d", lease_next=wish)
    for task in tasks:
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = result
    response: pb.ReportTasksResponse = await DispatchServiceStub(rig.client.channel).ReportTasks(
        request
    )
    assert {each.status for each in response.results} == {pb.REPORT_STATUS_RECORDED}
    return response


async def queued(rig: Rig) -> int:
    found: int = await rig.db.fetchval("SELECT count(*) FROM zart.queue")
    return found


async def test_halves_of_a_call_lease_together_what_it_asked_for(rig: Rig) -> None:
    wide = {"first": (), **{f"s{n}": ("first",) for n in range(3_000)}}
    for execution_id in "xy":
        await rig.start(execution_id, wide, handler="h")

    response = await report(rig, await rig.lease(), most=1)
    assert len(response.tasks) == 1
    assert await queued(rig) == 5_999


async def test_what_waits_for_its_run_finds_the_slot_taken(rig: Rig) -> None:
    for execution_id in "xy":
        await rig.start(execution_id, CHAIN)
    tasks = await rig.lease()
    async with rig.locked(OTHERS):
        reporting = asyncio.ensure_future(report(rig, tasks, most=1))
        await rig.until_waiting()

    assert [(each.execution_id, each.step_name) for each in (await reporting).tasks] == [("x", "b")]
    assert [task.execution_id for task in await rig.lease(wait=LONG)] == ["y"]


async def test_what_parts_lease_fits_into_one_answer(rig: Rig) -> None:
    await rig.client.register_task("t", [zart.StepSpec("a"), zart.StepSpec("b", ("a",))])
    names = ["x", *(f"y{n}" for n in range(7))]
    await rig.client.batch_start_executions([zart.Start("t", {}, name) for name in names])
    tasks = await rig.lease()
    async with rig.locked(OTHERS):
        large = '"' + "r" * LARGE + '"'
        reporting = asyncio.ensure_future(report(rig, tasks, most=100, result=large))
        await rig.until_waiting()
    response = await reporting

    assert 2 <= len(response.tasks) <= 4
    assert response.ByteSize() < 5 * LARGE
    assert await queued(rig) == len(names) - len(response.tasks)


async def test_parts_that_are_recorded_at_the_same_time_share_what_is_left() -> None:
    wish = LeaseNext("d", "", frozenset("t"), frozenset(), 5, timedelta(hours=1), 1000)
    outcomes = [Outcome(f"{n}-0-1", 1, Completed("1"), lease_next=wish) for n in range(4)]
    call = ReportCall.of([*outcomes, Outcome("4-0-1", 1, Completed("1"))])

    whole, nothing = lend_to([(call, n) for n in range(5)], are_parts=False)
    assert whole == call.outcomes
    assert not nothing
    of_two, shares = lend_to([(call, 0), (call, 4)], are_parts=True)
    lent = shares[call]
    assert lent is not None
    assert (lent.max_tasks, lent.max_bytes) == (2, 400)
    assert [item.lease_next for item in of_two] == [lent, None]  # the last is left to others
    rest = [call.lend(2), call.lend(1)]
    assert [(each.max_tasks, each.max_bytes) for each in rest if each] == [(2, 400), (1, 200)]

    end_shares(shares)  # it made nothing ready
    assert call.lend(2) is not None
    assert call.lend(1) is None
