"""CancelExecution ends the current run for good."""

from __future__ import annotations

import pytest
from rig import CHAIN, Rig

from zart import errors


async def test_cancel_stops_the_chain_and_fences_what_is_in_flight(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    answer = await rig.client.cancel_execution("x", reason="wrong data")

    assert answer.run.status == "CANCELLED"
    assert [s.step_name for s in answer.fenced_steps] == ["a"]
    assert set((await rig.statuses()).values()) == {"CANCELLED"}
    assert await rig.complete(task) == ["LEASE_LOST"]
    assert await rig.lease() == []
    assert await rig.run_status() == "CANCELLED"


async def test_cancel_keeps_what_is_completed_or_dead(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ()})
    tasks = {t.step_name: t for t in await rig.lease()}
    await rig.complete(tasks["a"])
    await rig.fail(tasks["b"])
    await rig.client.cancel_execution("x")

    assert await rig.statuses() == {"a": "COMPLETED", "b": "DEAD", "c": "CANCELLED"}


async def test_cancel_reaches_no_other_execution(rig: Rig) -> None:
    for name in ("order_1", "orderX1", "order_10", "%"):
        await rig.start(name, {"a": ()})
    await rig.client.cancel_execution("order_1")
    await rig.client.cancel_execution("%")

    assert await rig.run_status("orderX1") == "SCHEDULED"
    assert await rig.run_status("order_10") == "SCHEDULED"


async def test_a_paused_step_is_cancelled_and_resume_does_not_bring_it_back(rig: Rig) -> None:
    await rig.client.pause(task_name="t")
    await rig.start("x", CHAIN)
    await rig.client.cancel_execution("x")
    resumed = await rig.client.resume(everything=True)

    assert resumed.released_steps == 0
    assert await rig.lease() == []


@pytest.mark.parametrize("deed", ["cancel_execution", "restart", "rerun"])
async def test_a_paused_step_keeps_the_number_of_its_last_attempt(rig: Rig, deed: str) -> None:
    await rig.start("x", {"a": (), "b": ()})
    tasks = {t.step_name: t for t in await rig.lease()}
    await rig.client.pause(task_name="t")
    await rig.fail(tasks["a"], retryable=True)
    await rig.complete(tasks["b"])
    assert await rig.statuses() == {"a": "PAUSED", "b": "COMPLETED"}
    await getattr(rig.client, deed)("x")

    step = await rig.client.get_step("x", "a", run_number=0)
    assert (step.status, step.attempt) == ("CANCELLED", 1)
    assert [each.status for each in step.attempts] == ["FAILED"]


async def test_a_finished_run_cannot_be_cancelled(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    with pytest.raises(errors.RunFinished):
        await rig.client.cancel_execution("x")
    await rig.client.restart("x")
    with pytest.raises(errors.RunChanged):
        await rig.client.cancel_execution("x", expected_run_number=0)
    assert await rig.run_status() == "SCHEDULED"
