"""Eager dispatch: a report leases the steps that it makes ready, by every rule of a lease."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from prometheus_client import Counter
from rig import CHAIN, LONG, Rig, eventually
from waiting import until

import zart
from zart.models import LeasedTask
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.api.call_metrics import calls


def value_of(counter: Counter) -> float:
    """Return what a counter without labels left has counted."""
    [metric] = counter.collect()
    return next(s.value for s in metric.samples if s.name.endswith("_total"))


def wish(**fields: Any) -> pb.LeaseNext:
    """Ask for what follows."""
    return pb.LeaseNext(**{"task_names": ["t"], "max_tasks": 10, **fields})


async def report(
    rig: Rig,
    *tasks: LeasedTask | pb.LeasedTask,
    lease_next: pb.LeaseNext | None = None,
    queue_next: bool = False,
) -> pb.ReportTasksResponse:
    """Complete tasks and ask for what follows."""
    request = pb.ReportTasksRequest(dispatcher_id="d", lease_next=lease_next or wish())
    for task in tasks:
        outcome = request.outcomes.add(
            task_id=task.task_id, lease_token=task.lease_token, queue_next=queue_next
        )
        outcome.completed.result_json = f'"{task.step_name}"'
    response: pb.ReportTasksResponse = await DispatchServiceStub(rig.client.channel).ReportTasks(
        request
    )
    assert [r.status for r in response.results] == [pb.REPORT_STATUS_RECORDED] * len(tasks)
    return response


async def test_what_follows_is_leased_with_all_that_its_handler_needs(rig: Rig) -> None:
    await rig.start("x", CHAIN, payload={"user": 7})
    response = await report(
        rig, await rig.lease_one("a"), lease_next=wish(lease_duration={"seconds": 9})
    )

    (task,) = response.tasks
    (stored,) = await rig.db.fetch("SELECT * FROM zart_tasks")
    assert (task.step_name, task.run_id, task.attempt) == ("b", "x:run:0", 1)
    assert (task.payload_json, dict(task.upstream_json)) == ('{"user":7}', {"a": '"a"'})
    assert (task.max_attempts, task.lease_ttl.seconds) == (3, 9)
    assert (stored["task_id"], stored["lease_token"]) == (task.task_id, task.lease_token)
    assert stored["lease_owner"] == "d"
    assert await rig.statuses() == {"a": "COMPLETED", "b": "RUNNING", "c": "PENDING"}


async def test_the_lease_is_one_like_any_other(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    (task,) = (await report(rig, await rig.lease_one("a"))).tasks
    lease = zart.Lease(task.task_id, task.lease_token)
    (extended,) = await rig.client.extend_leases("d", [lease])
    await rig.client.restart("x")
    done = zart.Outcome(task.task_id, task.lease_token, zart.Completed())

    assert extended.extended
    assert [r.status.value for r in await rig.report(done)] == ["LEASE_LOST"]


async def test_a_step_that_a_rule_withholds_is_paused_not_leased(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    await rig.client.pause(step_pattern="b")

    assert list((await report(rig, task)).tasks) == []
    assert (await rig.statuses())["b"] == "PAUSED"


@pytest.mark.parametrize(
    "lease_next",
    [wish(task_names=["other"]), wish(handlers=["a", "c"])],
    ids=["another task", "another handler"],
)
async def test_what_was_not_asked_for_is_queued(rig: Rig, lease_next: pb.LeaseNext) -> None:
    await rig.start("x", CHAIN)

    response = await report(rig, await rig.lease_one("a"), lease_next=lease_next)
    assert list(response.tasks) == []
    assert [t.step_name for t in await rig.lease()] == ["b"]


async def test_an_outcome_may_leave_its_turn_to_others(rig: Rig) -> None:
    await rig.start("x", CHAIN)

    response = await report(rig, await rig.lease_one("a"), queue_next=True)
    assert list(response.tasks) == []
    assert (await rig.statuses())["b"] == "SCHEDULED"


async def test_no_more_than_asked_for_is_leased(rig: Rig) -> None:
    await rig.start("x", {"a": (), **{f"b{n}": ("a",) for n in range(5)}})

    response = await report(rig, await rig.lease_one("a"), lease_next=wish(max_tasks=2))
    assert [t.step_name for t in response.tasks] == ["b0", "b1"]
    assert [t.step_name for t in await rig.lease()] == ["b2", "b3", "b4"]


async def test_a_rerun_follows_what_runs_again_and_passes_over_what_is_preserved(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.work()
    await rig.client.rerun("x", force_rerun=["a", "c"], preserve=["b"])
    a, c = sorted(
        [*await rig.lease(1, wait=LONG), *await rig.lease(1, wait=LONG)],
        key=lambda task: task.step_name,
    )
    response = await report(rig, a, c)

    assert list(response.tasks) == []
    assert await rig.run_status() == "COMPLETED"


async def test_a_wish_that_cannot_be_is_refused_before_anything_is_recorded(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    for number, reason in ((0, "INVALID_ARGUMENT"), (1001, "RESOURCE_EXHAUSTED")):
        with pytest.raises(grpc.aio.AioRpcError, match=r"lease_next\.max_tasks") as refused:
            await report(rig, task, lease_next=wish(max_tasks=number))
        assert refused.value.code().name == reason

    assert (await rig.statuses())["a"] == "RUNNING"


async def test_what_cannot_be_delivered_is_given_back(rig: Rig) -> None:
    """The caller is gone while its report waits for the run: recorded, and b is for others."""
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    async with rig.locked("SELECT FROM zart.runs FOR NO KEY UPDATE"):
        reporting = asyncio.create_task(report(rig, task))
        await rig.until_waiting()
        ended = calls("/zart.v1.DispatchService/ReportTasks", "CANCELLED", "")
        before = value_of(ended)
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        # The server knows, too: else it delivers to nobody, and finds out by the lease's end.
        await until(lambda: value_of(ended) > before)

    async def is_free() -> bool:
        return (await rig.statuses())["b"] == "SCHEDULED"

    await eventually(is_free)
    (attempt,) = (await rig.client.get_step("x", "b")).attempts
    assert attempt.status == "RELEASED"


async def test_a_server_that_drains_leases_nothing_in_return(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    zart_server.loop.call_soon_threadsafe(zart_server.running.runtime.drain)

    assert list((await report(rig, task)).tasks) == []
    assert (await rig.statuses())["b"] == "SCHEDULED"


async def test_of_a_batch_only_what_is_current_goes_on(rig: Rig) -> None:
    for name in ("x", "fenced", "done"):
        await rig.start(name, {"a": (), "b": ("a",)})
    tasks = {task.execution_id: task for task in await rig.lease()}
    await rig.client.restart("fenced")
    await rig.complete(tasks["done"])
    request = pb.ReportTasksRequest(dispatcher_id="d", lease_next=wish())
    for task in tasks.values():
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = "1"
    response = await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    recorded, lost, already = (
        pb.REPORT_STATUS_RECORDED, pb.REPORT_STATUS_LEASE_LOST, pb.REPORT_STATUS_ALREADY_RECORDED,
    )  # fmt: skip
    assert [r.status for r in response.results] == [recorded, lost, already]
    assert [(task.execution_id, task.step_name) for task in response.tasks] == [("x", "b")]
    assert await rig.statuses("fenced") == {"a": "SCHEDULED", "b": "PENDING"}
    assert await rig.statuses("done") == {"a": "COMPLETED", "b": "SCHEDULED"}


async def test_a_last_step_that_is_fenced_completes_no_run(rig: Rig) -> None:
    for name in ("x", "fenced"):
        await rig.start(name, {"a": (), "b": ("a",)})
    tasks = await rig.lease()
    await rig.complete(*tasks)
    lasts = await rig.lease()
    await rig.client.restart("fenced")
    statuses = await rig.complete(*lasts)

    assert sorted(statuses) == ["LEASE_LOST", "RECORDED"]
    assert await rig.run_status("x") == "COMPLETED"
    assert await rig.run_status("fenced") == "SCHEDULED"
    assert await rig.run_status("fenced", run_number=0) == "CANCELLED"


async def test_rules_that_this_server_has_not_heard_of_withhold_what_follows(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    await rig.client.pause(task_name="another")  # the rules are at hand
    await rig.db.execute(
        "INSERT INTO zart.pause_rules (rule_id, step_pattern, step_regex, everything,"
        " created_by, reason, epoch)"
        " SELECT 'pr-x', 'b', '^b$', false, 'op', '', epoch + 1 FROM zart.pause_epoch;"
        " UPDATE zart.pause_epoch SET epoch = epoch + 1"
    )

    assert list((await report(rig, task)).tasks) == []
    assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED", "c": "PENDING"}


async def test_the_last_step_of_a_rerun_may_come_before_others(rig: Rig) -> None:
    """What lies between them is preserved, so they run side by side."""
    await rig.start("x", CHAIN)
    await rig.work()
    await rig.client.rerun("x", force_rerun=["a", "c"], preserve=["b"])
    a, c = sorted(await rig.lease(), key=lambda task: task.step_name)
    await rig.complete(c)
    assert await rig.run_status() == "RUNNING"

    await rig.complete(a)
    assert await rig.run_status() == "COMPLETED"
