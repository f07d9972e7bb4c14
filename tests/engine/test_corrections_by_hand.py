"""Inputs that operators correct, in runs whose steps are ended by hand."""

from __future__ import annotations

from engine.test_corrections import start, told
from engine.test_eager_dispatch import report
from rig import Rig


async def test_a_step_failed_while_pending_gets_its_corrected_input_once_it_is_ready(
    rig: Rig,
) -> None:
    await start(rig)
    await rig.client.fail_step("x", "b", "not with this card")
    retried = await rig.client.retry_step("x", "b", input=2)
    assert (retried.step.status, retried.step.input_corrections) == ("PENDING", 1)
    response = await report(rig, await rig.lease_one("a"))
    assert not response.tasks
    assert told(await rig.lease_one("b")) == (2, "x:run:0/b/2")


async def test_a_step_completed_by_hand_hands_corrected_inputs_on(rig: Rig) -> None:
    await start(rig)
    await rig.work()
    await rig.client.rerun("x", inputs={"a": 2, "b": 3})
    await rig.client.complete_step("x", "a", 7)
    assert told(await rig.lease_one("b")) == (3, "x:run:1/b/2")
