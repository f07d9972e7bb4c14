"""A step that depends on more than a dispatcher is to hold fails, and takes nothing else along."""

from __future__ import annotations

import pytest
from dispatching import dispatching, registered
from rig import Rig

import zart
from zart.testing.server import ServerUnderTest

RESULT = "r" * 1_000_000
WIDTH = 6
SIZE = WIDTH * (len(RESULT) + 2)


async def test_more_results_than_an_attempt_may_have_are_a_failure_for_good(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    called: list[int] = []
    parts = [task.step(name=f"s{n}")(lambda _: RESULT) for n in range(WIDTH)]

    @task.step(depends_on=parts, once=True)
    def total(ctx: zart.StepContext) -> int:
        called.append(ctx.attempt)
        return sum(len(ctx.result_of(part)) for part in parts)

    async with dispatching(zart_server, task, results_mib=5):
        await registered(rig, "t")
        handle = await rig.client.start(task, execution_id="x")
        with pytest.raises(zart.errors.RunFailed, match="'total' depends on too much"):
            await handle.result()
    step = await rig.client.get_step("x", "total")
    assert (step.status, step.attempt, step.retryable, step.in_doubt) == ("DEAD", 1, False, False)
    assert step.last_error is not None
    assert step.last_error.type == "ResultsTooLarge"
    assert step.last_error.message == (
        f"'total' depends on too much: {WIDTH} of the {WIDTH} results that it needs have {SIZE}"
        f" bytes of JSON, at most {5 * 1024 * 1024} are fetched for an attempt (results_mib of its"
        " dispatcher): let steps pass where large results are"
    )
    assert called == []

    async with dispatching(zart_server, task, results_mib=6):
        await rig.client.retry_step("x", "total")
        assert await rig.client.handle("x").result() == WIDTH * len(RESULT)
    assert called == [2]
