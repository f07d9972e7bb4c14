"""A lease is its principal's: nobody else can report or extend it, and is given no hint of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from patient import patient_database
from rig import CHAIN, Rig

import zart
from zart import errors
from zart.models import LeasedTask
from zart_server.domain.dispatch import Completed, LeaseNext, Outcome
from zart_server.domain.model import ReportStatus
from zart_server.engine.dispatch.outcome_batch import Recorded, find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.dispatch.report import record_outcomes
from zart_server.store.connection import Autocommit


async def _lease_as_another(rig: Rig) -> LeasedTask:
    """Lease a task, then make the lease somebody else's; the callers here have no identity."""
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    await rig.db.execute("UPDATE zart.leases SET principal = 'somebody'")
    return task


async def test_a_report_is_answered_as_if_the_lease_were_lost(rig: Rig) -> None:
    task = await _lease_as_another(rig)

    assert await rig.complete(task) == ["LEASE_LOST"]
    assert await rig.fail(task) == "LEASE_LOST"
    assert (await rig.statuses())["a"] == "RUNNING"

    await rig.db.execute("UPDATE zart.leases SET principal = ''")

    assert await rig.complete(task) == ["RECORDED"]


async def test_a_repeated_report_is_told_already_recorded_to_its_own_principal_only(
    rig: Rig,
) -> None:
    task = await _lease_as_another(rig)
    # As the report of the lease's own principal leaves it.
    await rig.db.execute(
        "INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,"
        " principal, lease_token, started_at, completed_at) SELECT run_key, step_no, attempt,"
        " 'failed', false, dispatcher_id, principal, lease_token, started_at, now()"
        " FROM zart.leases"
    )

    assert await rig.complete(task) == ["LEASE_LOST"]


async def test_no_lease_of_another_is_extended(rig: Rig) -> None:
    task = await _lease_as_another(rig)
    lease = zart.Lease(task.task_id, task.lease_token)

    assert [r.extended for r in await rig.client.extend_leases("d", [lease])] == [False]

    await rig.db.execute("UPDATE zart.leases SET principal = ''")

    assert [r.extended for r in await rig.client.extend_leases("d", [lease])] == [True]


async def test_results_are_read_under_ones_own_lease_only(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.complete(await rig.lease_one("a"), result=1)
    task = await rig.lease_one("b")
    lease = zart.Lease(task.task_id, task.lease_token)
    assert await rig.client.get_step_results(lease, ["a"]) == {"a": 1}

    await rig.db.execute("UPDATE zart.leases SET principal = 'somebody'")

    with pytest.raises(errors.InvalidField):
        await rig.client.get_step_results(lease, ["a"])


async def test_an_expired_lease_of_anybody_is_swept(rig: Rig) -> None:
    await _lease_as_another(rig)
    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now()")

    again = await rig.lease_one("a")

    assert again.attempt == 2
    state = await rig.client.get_execution("x")
    assert [(a.status.value, a.principal) for a in state.step("a").attempts] == [
        ("LOST", "somebody"),
        ("RUNNING", ""),
    ]


async def in_general(connection: Autocommit, outcomes: list[Outcome]) -> Recorded | None:
    tx = await connection.begin()
    return await record_in_general(tx, await find_batch(tx, outcomes), wait=True)


@pytest.mark.parametrize("other", ["another principal", "an old token"])
@pytest.mark.parametrize("first", ["holder", "other"])
@pytest.mark.parametrize("record", [record_outcomes, in_general])
async def test_of_two_who_report_at_once_the_holder_alone_is_heard(
    rig: Rig,
    zart_database: str,
    record: Callable[[Autocommit, list[Outcome]], Awaitable[Recorded | None]],
    first: str,
    other: str,
) -> None:
    """Reports of several callers are recorded together: each by its own principal and token."""
    await rig.start("x", {"a": (), "b": ("a",)})
    task = await rig.lease_one("a")
    more = LeaseNext("d", "", frozenset({"t"}), frozenset(), 1, timedelta(seconds=30))
    holder = Outcome(task.task_id, task.lease_token, Completed('"true"'), "", lease_next=more)
    forged = holder._replace(ending=Completed('"forged"'))
    if other == "another principal":
        forged = forged._replace(principal="somebody")
    else:
        forged = forged._replace(lease_token=task.lease_token - 1)
    outcomes = [holder, forged] if first == "holder" else [forged, holder]
    store = await patient_database(zart_database)
    try:
        async with store.autocommit() as connection:
            recorded = await record(connection, outcomes)
    finally:
        await store.close()

    assert recorded is not None
    mine = outcomes.index(holder)
    assert recorded.statuses == {
        mine: ReportStatus.RECORDED,
        1 - mine: ReportStatus.LEASE_LOST,
    }
    ((told, following),) = recorded.tasks
    assert (told, following.step.step_name, following.upstream_json) == (mine, "b", {"a": '"true"'})
    assert (await rig.client.get_step("x", "a")).result == "true"
