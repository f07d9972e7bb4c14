"""A dispatcher whose process can start no thread goes on, and does nothing twice."""

from __future__ import annotations

import threading
from collections import Counter

from client.no_threads import no_more_threads
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, eventually, until

import zart
from zart.testing.server import ServerUnderTest


async def test_a_plain_step_without_a_thread_is_given_back_and_called_once(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    gate, called = threading.Event(), Counter[str]()

    @task.step(once=True)
    def charge(ctx: zart.StepContext) -> None:
        called[ctx.execution_id] += 1
        gate.wait(GIVE_UP)

    async def statuses() -> list[str]:
        return [
            each.status.value for each in (await rig.client.get_step("late", "charge")).attempts
        ]

    async def is_given_back() -> bool:
        return (await statuses())[:1] not in ([], ["RUNNING"])

    async with dispatching(zart_server, task, concurrency=2):
        busy = await start(rig, task, execution_id="busy")
        await until(lambda: called)
        with no_more_threads():
            late = await rig.client.start(task, execution_id="late")
            await eventually(is_given_back)
        gate.set()
        for handle in (busy, late):
            assert (await handle.run(timeout=GIVE_UP)).status == "COMPLETED"
    assert called == {"busy": 1, "late": 1}
    *before, last = await statuses()
    assert set(before) == {"RELEASED"}
    assert last == "COMPLETED"
