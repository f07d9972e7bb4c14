"""Reports are committed together, but for those that make thousands of steps ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import grpc
import pytest
from patient import patient_database
from rig import CHAIN, LONG, Rig, eventually

import zart
from zart.models import LeasedTask
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.domain.dispatch import Completed, LeaseNext, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch import report_call
from zart_server.engine.dispatch.report import record_outcomes


def fan(steps: int) -> dict[str, tuple[str, ...]]:
    """Make a graph of a step that so many others wait for."""
    return {"first": (), **{f"s{n}": ("first",) for n in range(steps)}}


def reports_of(tasks: Iterable[LeasedTask]) -> pb.ReportTasksRequest:
    """Complete tasks by one request, which leases what follows for an hour."""
    wish = pb.LeaseNext(task_names=["t"], max_tasks=10)
    wish.lease_duration.FromSeconds(3600)
    request = pb.ReportTasksRequest(dispatcher_id="d", lease_next=wish)
    for task in tasks:
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = "1"
    return request


@pytest.mark.parametrize("steps", [3, 3_000])
async def test_as_many_are_enqueued_at_once_as_take_no_time(rig: Rig, steps: int) -> None:
    for execution_id in "xyz":
        await rig.start(execution_id, fan(steps), handler="h")
    tasks = await rig.lease()

    assert await rig.complete(*tasks) == ["RECORDED"] * 3

    (queued, at_once) = await rig.db.fetchrow(
        "SELECT count(*), count(DISTINCT xmin::text) FROM zart.queue"
    ) or (0, 0)
    assert (queued, at_once) == (3 * steps, 1 if steps < 1000 else 3)


async def test_one_outcome_is_never_too_much(rig: Rig) -> None:
    await rig.start("x", fan(6_000), handler="h")
    (task,) = await rig.lease()

    assert await rig.complete(task) == ["RECORDED"]

    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 6_000


async def test_what_a_half_leased_for_a_call_that_has_failed_is_given_back(rig: Rig) -> None:
    for execution_id in "xy":
        await rig.start(execution_id, fan(3_000), handler="h")
    tasks = sorted(await rig.lease(), key=lambda task: task.execution_id)
    run_key = await rig.db.fetchval("SELECT min(run_key) FROM zart.runs")  # of x
    await rig.db.execute(
        f"""
        CREATE FUNCTION too_long() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'too long' USING ERRCODE = '57014';
        END $$;
        CREATE TRIGGER too_long BEFORE INSERT ON zart.queue FOR EACH ROW
            WHEN (NEW.run_key = {run_key}) EXECUTE FUNCTION too_long();
        """
    )
    request = reports_of(tasks)
    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
        await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    async def are_given_back() -> bool:
        queued: int = await rig.db.fetchval("SELECT count(*) FROM zart.queue")
        return queued == 3_000  # all that follows in y, whose half came after the answer

    await eventually(are_given_back)
    assert await rig.db.fetchval("SELECT array_agg(run_key) FROM zart.leases") == [run_key]


async def test_what_waits_for_a_slow_run_to_be_answered_is_for_others_meanwhile(rig: Rig) -> None:
    for execution_id in "xy":
        await rig.start(execution_id, CHAIN, if_in_doubt=zart.IfInDoubt.STOP)
    request = reports_of(await rig.lease())

    async def is_queued() -> bool:
        return (await rig.statuses("x"))["b"] == "SCHEDULED"

    async with rig.locked(
        "SELECT FROM zart.runs r JOIN zart.executions e USING (execution_key)"
        " WHERE e.execution_id = 'y' FOR NO KEY UPDATE OF r"
    ):
        reporting = asyncio.ensure_future(
            DispatchServiceStub(rig.client.channel).ReportTasks(request)
        )
        await eventually(is_queued)
        assert not reporting.done()
    response = await reporting

    (attempt,) = (await rig.client.get_step("x", "b")).attempts
    assert attempt.status == "RELEASED"
    assert [result.status for result in response.results] == [pb.REPORT_STATUS_RECORDED] * 2
    assert [(task.execution_id, task.step_name) for task in response.tasks] == [("y", "b")]


async def test_what_follows_is_delivered_where_a_run_is_locked_for_a_moment(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_call, "_WITHHELD", LONG)  # the moment may be long on this machine
    for execution_id in "xy":
        await rig.start(execution_id, CHAIN)
    request = reports_of(await rig.lease())
    async with rig.locked(
        "SELECT FROM zart.runs r JOIN zart.executions e USING (execution_key)"
        " WHERE e.execution_id = 'y' FOR NO KEY UPDATE OF r"
    ):
        reporting = asyncio.ensure_future(
            DispatchServiceStub(rig.client.channel).ReportTasks(request)
        )
        await rig.until_waiting()
    response = await reporting

    assert {(task.execution_id, task.step_name) for task in response.tasks} == {
        ("x", "b"),
        ("y", "b"),
    }


async def test_a_conflict_over_what_came_too_late_takes_nothing_from_others(
    rig: Rig, zart_database: str
) -> None:
    await rig.start("x", CHAIN)
    good = await rig.lease_one("a")
    # Its run goes on: z is at work.
    await rig.start("y", {"a": (), "b": ("a",), "z": ()}, if_in_doubt=zart.IfInDoubt.STOP)
    late = next(task for task in await rig.lease() if task.step_name == "a")
    await rig.report(zart.Outcome(late.task_id, late.lease_token, zart.Lost()))
    lessee = LeaseNext("d", "", frozenset("t"), frozenset(), 10, timedelta(hours=1))
    outcomes = [
        Outcome(task.task_id, task.lease_token, Completed("1"), lease_next=lessee)
        for task in (good, late)
    ]
    db = await patient_database(zart_database, lock_timeout=0.1)
    try:
        async with (
            rig.locked("SELECT FROM zart.in_doubt FOR UPDATE"),
            db.autocommit() as connection,
        ):
            recorded = await record_outcomes(connection, outcomes)
        assert recorded is not None
        assert recorded.statuses == {0: ReportStatus.RECORDED}
        assert [task.step.step_name for _, task in recorded.tasks] == ["b"]
        assert recorded.stragglers == [1]
    finally:
        await db.close()

    done = zart.Outcome(late.task_id, late.lease_token, zart.Completed("1"))
    assert [result.status.value for result in await rig.report(done)] == ["LEASE_LOST"]
    assert await rig.db.fetchval("SELECT late_status FROM zart.in_doubt") == "completed"
