"""What an operator ends is nothing to a breaker: no failure, and no probe."""

from __future__ import annotations

import pytest
from breaking import ONE, breaker, until
from rig import LONG, Rig


async def test_a_step_that_failed_by_hand_does_not_count(rig: Rig) -> None:
    spared = await breaker(rig.client, task_name="t", failure_threshold=1)
    opened = await breaker(rig.client, task_name="u", failure_threshold=1)
    await rig.start("x", ONE)
    await rig.client.fail_step("x", "charge", "no")
    await rig.start("y", ONE, task="u")
    (task,) = await rig.lease(task="u")
    await rig.fail(task)
    await until(rig.client, opened, "OPEN")  # which was looked for later
    found = await rig.client.get_breaker(spared)
    assert (found.status, found.failures_in_window) == ("CLOSED", 0)


@pytest.mark.parametrize("how", ["complete", "fail"])
@pytest.mark.parametrize("is_leased", [True, False])
async def test_a_probe_that_is_ended_by_hand_is_replaced_by_the_next(
    rig: Rig, how: str, *, is_leased: bool
) -> None:
    breaker_id = await breaker(rig.client, cooldown=1.0)
    await rig.client.trip_breaker(breaker_id)
    for name in ("x", "y"):
        await rig.start(name, ONE)
    await until(rig.client, breaker_id, "HALF_OPEN")
    if is_leased:
        (task,) = await rig.lease(wait=LONG)
        assert task.execution_id == "x"
    if how == "complete":
        await rig.client.complete_step("x", "charge", 1, fence=True)
    else:
        await rig.client.fail_step("x", "charge", "no", fence=True)
    (task,) = await rig.lease(wait=LONG)
    assert task.execution_id == "y"
    assert (await rig.client.get_breaker(breaker_id)).status == "HALF_OPEN"
    await rig.complete(task)
    await until(rig.client, breaker_id, "CLOSED")
