"""The view of steps tells the last error of each step as the API does, in every state."""

from __future__ import annotations

import json

from rig import CHAIN, Rig

import zart
from zart.models import StepStatus

_VIEW = """
    SELECT run_number, step_name, status, last_error FROM zart_steps
    WHERE execution_id = $1 ORDER BY run_number, step_no
"""
SLOWLY = zart.Retry(max_attempts=3, initial_backoff=3600.0)


async def told_alike(rig: Rig, execution_id: str = "x") -> dict[str, tuple[str, str | None]]:
    """Return the status and the error's message of each step of the current run, by name.

    After it is seen that view and API tell the same of all runs.
    """
    rows = await rig.db.fetch(_VIEW, execution_id)
    assert rows
    found: dict[str, tuple[str, str | None]] = {}
    for row in rows:
        number, name, status, text = row
        step = await rig.client.get_step(execution_id, name, run_number=number)
        assert status == step.status.value.lower()
        error = None if text is None else json.loads(text)
        told = step.last_error
        assert error == (
            None
            if told is None
            else {"type": told.type, "message": told.message, "details": told.details}
        )
        found[name] = status, None if told is None else told.message
    return found


async def fail_once(rig: Rig, message: str = "declined") -> None:
    """Have the first attempt of a fail, which is to be repeated."""
    await rig.fail(await rig.lease_one("a"), retryable=True, message=message)


async def test_of_a_step_that_is_tried_again(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    assert await told_alike(rig) == {
        "a": ("scheduled", None),
        "b": ("pending", None),
        "c": ("pending", None),
    }
    await fail_once(rig)
    assert (await told_alike(rig))["a"] == ("scheduled", "declined")
    again = await rig.lease_one("a")
    assert (await told_alike(rig))["a"] == ("running", "declined")
    await rig.report(zart.Outcome(again.task_id, again.lease_token, zart.Released()))
    assert (await told_alike(rig))["a"] == ("scheduled", "declined")
    await rig.client.pause(task_name="t")
    assert (await told_alike(rig))["a"] == ("paused", "declined")
    await rig.client.resume(task_name="t")
    await rig.complete(await rig.lease_one("a"))
    assert (await told_alike(rig))["a"] == ("completed", None)


async def test_of_a_step_that_is_dead_revived_and_completed_by_hand(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await fail_once(rig, "first")
    await rig.fail(await rig.lease_one("a"), message="second")
    assert (await told_alike(rig))["a"] == ("dead", "second")
    await rig.client.retry_step("x", "a")
    assert (await told_alike(rig))["a"] == ("scheduled", "second")
    await rig.fail(await rig.lease_one("a"), message="third")
    await rig.client.restart("x")  # the run before keeps what it has told
    assert (await told_alike(rig))["a"] == ("scheduled", None)
    await fail_once(rig)
    await rig.client.complete_step("x", "a", 1)
    assert (await told_alike(rig))["a"] == ("completed", None)
    await rig.client.fail_step("x", "c", "not wanted")
    assert (await told_alike(rig))["c"] == ("dead", "not wanted")


async def test_of_a_step_that_is_cancelled_or_waits(rig: Rig) -> None:
    await rig.start("x", CHAIN, retry=SLOWLY)
    await fail_once(rig)
    assert (await told_alike(rig))["a"] == ("scheduled", "declined")
    await rig.client.cancel_execution("x")
    assert (await told_alike(rig))["a"] == ("cancelled", "declined")


async def test_of_what_a_rerun_keeps(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await fail_once(rig)
    await rig.work(fail=["b"])
    await rig.client.rerun("x")
    told = await told_alike(rig)
    assert told["a"] == ("completed", None)
    assert told["b"] == ("scheduled", None)
    step = await rig.client.get_step("x", "a")
    assert step.status is StepStatus.COMPLETED
    assert step.preserved_from_run_number == 0
