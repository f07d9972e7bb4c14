"""DispatchService: what a report may be answered, and what a lease brings along."""

from __future__ import annotations

import asyncio

import pytest
from rig import CHAIN, LONG, Rig, until_polled
from standing_still import standing_still, until_standing_still
from waiting import until

import zart
from zart import errors
from zart.models import StepError
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub


async def test_a_report_again_is_already_recorded_and_the_first_outcome_stands(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")

    assert await rig.complete(task, result=1) == ["RECORDED"]
    assert await rig.complete(task, result=2) == ["ALREADY_RECORDED"]
    assert await rig.fail(task) == "ALREADY_RECORDED"
    assert (await rig.client.get_step("x", "a")).result == 1


async def test_one_bad_outcome_never_fails_its_batch(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ()})
    tasks = {t.step_name: t for t in await rig.lease()}
    stub = DispatchServiceStub(rig.client.channel)
    outcomes = [
        pb.TaskOutcome(
            task_id=tasks["a"].task_id,
            lease_token=tasks["a"].lease_token,
            completed=pb.TaskCompleted(result_json="1"),
        ),
        pb.TaskOutcome(
            task_id=tasks["b"].task_id,
            lease_token=tasks["b"].lease_token,
            completed=pb.TaskCompleted(result_json="{not json"),
        ),
        pb.TaskOutcome(task_id=tasks["c"].task_id, lease_token=tasks["c"].lease_token),
        pb.TaskOutcome(task_id="garbage", lease_token=1, timed_out=pb.TaskTimedOut()),
    ]
    response = await stub.ReportTasks(pb.ReportTasksRequest(dispatcher_id="d", outcomes=outcomes))

    names = [
        pb.ReportStatus.Name(r.status).removeprefix("REPORT_STATUS_") for r in response.results
    ]
    assert names == ["RECORDED", "REJECTED", "REJECTED", "LEASE_LOST"]
    assert "completed.result_json" in response.results[1].error
    assert await rig.statuses() == {"a": "COMPLETED", "b": "RUNNING", "c": "RUNNING"}
    # A rejected outcome leaves the lease as it was.
    assert await rig.complete(tasks["b"]) == ["RECORDED"]


async def test_a_token_is_good_a_little_past_expiry(rig: Rig, zart_server: ServerUnderTest) -> None:
    """Until its lease is swept, as nobody does here."""
    stopping = zart_server.running.runtime.lease_sweeps.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    expire = "UPDATE zart.leases SET lease_expires_at = now() - interval '1 s'"
    await rig.start("x", {"a": (), "b": ()})
    tasks = {task.step_name: task for task in await rig.lease()}

    await rig.db.execute(expire)
    results = await rig.client.extend_leases(
        "d", [zart.Lease(task.task_id, task.lease_token) for task in tasks.values()]
    )
    assert [result.extended for result in results] == [True, True]
    assert all(result.lease_ttl for result in results)  # they are as good as before

    await rig.db.execute(expire)
    assert await rig.complete(tasks["a"]) == ["RECORDED"]
    assert await rig.fail(tasks["b"]) == "RECORDED"
    assert await rig.statuses() == {"a": "COMPLETED", "b": "DEAD"}


async def test_upstream_results_past_the_limit_are_fetched_on_their_own(rig: Rig) -> None:
    big = "x" * 1_000_000
    names = [f"n{n}" for n in range(6)]
    await rig.start("x", {**dict.fromkeys(names, ()), "z": tuple(names)})
    for task in await rig.lease():
        await rig.complete(task, result=big)
    (last,) = await rig.lease()

    assert len(last.upstream) == 4
    assert len(last.upstream_omitted) == 2
    lease = zart.Lease(last.task_id, last.lease_token)
    results = await rig.client.get_step_results(lease, last.upstream_omitted)
    assert set(results) == set(last.upstream_omitted)
    assert set(results.values()) == {big}
    with pytest.raises(errors.InvalidField):
        await rig.client.get_step_results(lease, ["z"])
    with pytest.raises(errors.InvalidField):
        await rig.client.get_step_results(zart.Lease(last.task_id, 1), ["n0"])


async def test_errors_are_cut_at_16_kib(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    ending = zart.Failed(StepError("E", "ü" * 20_000, "more"), retryable=False)
    await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))

    error = (await rig.client.get_step("x", "a")).last_error
    assert error is not None
    assert len((error.type + error.message + error.details).encode()) <= 16 * 1024
    assert error.message.startswith("üüü")


async def test_a_lease_that_could_not_be_handed_over_is_given_back_at_once(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    polling = asyncio.create_task(rig.client.lease_tasks("gone", ["t"], wait=30))
    await until_polled(zart_server)
    (long_poll,) = zart_server.running.runtime.dispatch.long_polls._waiting
    # Its caller leaves while its lease is made.
    async with standing_still(rig, "INSERT ON zart.leases"):
        starting = asyncio.create_task(rig.start("x", {"a": ()}))
        await until_standing_still(rig)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await until(lambda: long_poll.gone is not None and long_poll.gone.is_set())
    await starting

    assert [t.step_name for t in await rig.lease(wait=LONG)] == ["a"]
    attempts = (await rig.client.get_step("x", "a")).attempts
    assert [(attempt.dispatcher_id, attempt.status.value) for attempt in attempts] == [
        ("gone", "RELEASED"),
        ("d", "RUNNING"),
    ]


async def test_outcomes_of_many_callers_are_each_answered(rig: Rig) -> None:
    await rig.start("x", {f"n{n}": () for n in range(200)})
    tasks = await rig.lease(200)
    answers = await asyncio.gather(*(rig.complete(t) for t in tasks))

    assert {a[0] for a in answers} == {"RECORDED"}
    assert await rig.run_status() == "COMPLETED"


async def test_registering_the_same_again_records_nothing(rig: Rig) -> None:
    for _ in range(3):
        await rig.client.register_task("reg", [zart.StepSpec("a")])
    kinds = [o.kind.value for o in await rig.client.list_operations()]
    assert kinds == ["REGISTER_TASK"]


async def test_oldest_first(rig: Rig) -> None:
    for n in range(5):
        await rig.start(f"x{n}", CHAIN)
    assert [t.execution_id for t in await rig.lease(3)] == ["x0", "x1", "x2"]
