"""A step that is queued tells whether dispatchers ask for its task: a second after the first did."""

from __future__ import annotations

from rig import Rig, eventually

import zart


async def test_a_task_tells_when_a_dispatcher_last_asked(rig: Rig) -> None:
    await rig.client.register_task("reg", [zart.StepSpec("a")])
    await rig.client.start("reg", execution_id="x")
    step = await rig.client.get_step("x", "a")
    assert step.waiting_on == "a dispatcher: none has ever asked for reg"

    await rig.client.lease_tasks("d", ["other"])
    await rig.client.lease_tasks("d", ["reg"], handlers=["b"])

    async def is_told() -> bool:
        step = await rig.client.get_step("x", "a")
        return step.waiting_on == "a dispatcher with a free slot"

    await eventually(is_told)
