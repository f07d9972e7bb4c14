"""Leases: what is leased to whom, until when, and what their end does to the step."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from patient import patient_database
from rig import LONG, Rig, eventually, until_polled

import zart
from zart.testing.server import ServerUnderTest
from zart_server.domain.dispatch import LeasedTask, LeaseTasks, Lost, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general


async def test_a_released_attempt_does_not_count(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=1))
    for _ in range(3):
        task = await rig.lease_one("a")
        await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Released()))
    assert (await rig.lease_one("a")).attempt == 4

    statuses = [a.status.value for a in (await rig.client.get_step("x", "a")).attempts]
    assert statuses == ["RELEASED", "RELEASED", "RELEASED", "RUNNING"]


async def test_the_server_enforces_the_time_limit_of_an_attempt(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, timeout=0.3, retry=zart.Retry(max_attempts=1))
    task = await rig.lease_one("a", lease_duration=5)  # in which it is extended
    lease = zart.Lease(task.task_id, task.lease_token)

    async def timed_out() -> bool:
        await rig.client.extend_leases("d", [lease])
        return await rig.run_status() == "FAILED"

    await eventually(timed_out)
    step = await rig.client.get_step("x", "a")
    assert step.status == "DEAD"
    assert [a.status for a in step.attempts] == ["TIMED_OUT"]
    assert await rig.complete(task) == ["LEASE_LOST"]


async def test_a_dispatcher_that_dies_is_lost_however_short_its_step_may_take(rig: Rig) -> None:
    """Only of a lease that was extended to its end is it known that the handler ran too long."""
    await rig.start("x", {"a": ()}, timeout=0.01, retry=zart.Retry(max_attempts=1))
    await rig.lease_one("a", lease_duration=1)

    async def is_dead() -> bool:
        return await rig.statuses() == {"a": "DEAD"}

    await eventually(is_dead)
    step = await rig.client.get_step("x", "a")
    assert step.last_error is not None
    assert step.last_error.type == "LeaseLost"
    assert [a.status for a in step.attempts] == ["LOST"]


async def test_an_expired_lease_is_lost_and_counts(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=2, initial_backoff=0))
    (first,) = await rig.lease(lease_duration=1)
    second = await rig.lease_one("a")
    assert (second.attempt, first.attempt) == (2, 1)

    assert await rig.complete(first) == ["LEASE_LOST"]
    assert await rig.complete(second) == ["RECORDED"]
    statuses = [a.status.value for a in (await rig.client.get_step("x", "a")).attempts]
    assert statuses == ["LOST", "COMPLETED"]


async def test_a_step_whose_handler_kills_its_dispatcher_is_dead_in_the_end(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=2, initial_backoff=0))
    for _ in range(2):
        assert await rig.lease(lease_duration=1, wait=LONG)

    async def dead() -> bool:
        return (await rig.statuses())["a"] == "DEAD"

    await eventually(dead)
    assert await rig.run_status() == "FAILED"


async def test_a_long_poll_is_woken_by_what_becomes_ready(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    polling = asyncio.create_task(rig.client.lease_tasks("d", ["t"], wait=LONG))
    await until_polled(zart_server)
    await rig.start("x", {"a": ()})
    found = await polling

    assert [t.step_name for t in found] == ["a"]


async def test_what_does_not_fit_into_an_answer_is_leased_by_who_waits(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """All were announced to the first, and nobody looks by the clock here."""
    stopping = zart_server.running.runtime.maintenance.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    names = {f"b{n}" for n in range(12)}
    graph = {"a": (), **dict.fromkeys(names, ("a",))}
    await rig.start("x", graph, payload="x" * 1_000_000)
    task = await rig.lease_one("a")
    polling = []
    for name in ("first", "second"):
        call = rig.client.lease_tasks(name, ["t"], max_tasks=20, wait=LONG)
        polling.append(asyncio.create_task(call))
        await until_polled(zart_server, len(polling))
    await rig.complete(task)
    first, second = await asyncio.gather(*polling)

    assert {task.step_name for task in [*first, *second]} == names
    assert (len(first), len(second)) == (8, 4)


async def test_a_lease_asks_for_the_handlers_it_has(rig: Rig) -> None:
    await rig.start("x", {"old": (), "new": ()})

    found = await rig.lease(handlers=["old", "elsewhere"])

    assert [t.handler for t in found] == ["old"]


async def test_extending_keeps_a_lease_and_its_ttl_is_a_span(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    (task,) = await rig.lease(lease_duration=200)
    (result,) = await rig.client.extend_leases("d", [zart.Lease(task.task_id, task.lease_token)])
    (wrong,) = await rig.client.extend_leases("d", [zart.Lease(task.task_id, 999_999)])

    assert result.extended
    assert result.lease_ttl is not None
    assert timedelta(seconds=100) < result.lease_ttl <= timedelta(seconds=200)
    assert not wrong.extended


async def test_who_reports_what_the_server_gave_back_is_told_that_it_is_not_recorded(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """A stream broke while its answer was written, which arrived all the same."""
    dispatch = zart_server.running.runtime.dispatch
    await rig.start("x", {"a": ()})
    command = LeaseTasks("d", ("t",), (), 1, timedelta(seconds=LONG), timedelta(seconds=LONG))

    async def leased_and_given_back() -> LeasedTask:
        (task,) = await dispatch.lease(command)
        await dispatch.release([task], command.principal, not_begun=False)
        return task

    working = asyncio.run_coroutine_threadsafe(leased_and_given_back(), zart_server.loop)
    first = await asyncio.wrap_future(working)
    done = zart.Outcome(first.task_id, first.lease_token, zart.Completed("done"))

    assert [result.status.value for result in await rig.report(done)] == ["LEASE_LOST"]
    second = await rig.lease_one("a")
    assert second.attempt == 2
    await rig.report(zart.Outcome(second.task_id, second.lease_token, zart.Released()))
    # A report of its own is recorded, however often it is repeated.
    again = zart.Outcome(second.task_id, second.lease_token, zart.Completed("done"))
    assert [result.status.value for result in await rig.report(again)] == ["ALREADY_RECORDED"]
    statuses = [a.status.value for a in (await rig.client.get_step("x", "a")).attempts]
    assert statuses == ["RELEASED", "RELEASED"]


async def test_a_lease_that_was_extended_since_the_sweep_looked_stays(
    rig: Rig, zart_database: str
) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=1))
    (task,) = await rig.lease(lease_duration=200)
    # What the sweep has found that looked before the dispatcher extended its lease.
    found = Outcome(task.task_id, task.lease_token, Lost("d", is_overdue=False))
    database = await patient_database(zart_database)
    try:
        async with database.transaction() as tx:
            recorded = await record_in_general(tx, await find_batch(tx, [found]), swept=True)
    finally:
        await database.close()

    assert recorded.statuses == {0: ReportStatus.LEASE_LOST}
    assert await rig.statuses() == {"a": "RUNNING"}
    assert await rig.complete(task) == ["RECORDED"]
    step = await rig.client.get_step("x", "a")
    assert [attempt.status.value for attempt in step.attempts] == ["COMPLETED"]
