"""zart.testing.run does as a server and a dispatcher do, in one process."""

from __future__ import annotations

from typing import Any

import pytest
from waiting import block_until, for_ever

import zart


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_step_that_must_not_run_twice_is_not_repeated_once_its_time_is_up(
    *, is_async: bool
) -> None:
    task = zart.Task("t")
    attempts: list[int] = []

    async def waits(ctx: zart.StepContext) -> None:
        attempts.append(ctx.attempt)
        await for_ever()

    def blocks(ctx: zart.StepContext) -> None:
        attempts.append(ctx.attempt)
        block_until(lambda: ctx.cancelled)

    function: Any = waits if is_async else blocks
    retry = zart.Retry(max_attempts=3)
    task.step(name="charge", once=True, timeout=0.05, retry=retry)(function)
    with pytest.raises(zart.RunFailed, match="charge: timed out: it may have had its effect"):
        await zart.testing.run(task)
    assert attempts == [1]


async def test_such_a_step_is_repeated_where_it_says_that_it_failed() -> None:
    task = zart.Task("t")

    @task.step(once=True, retry=zart.Retry(max_attempts=3))
    def charge(ctx: zart.StepContext) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("declined")
        return ctx.attempt

    assert await zart.testing.run(task) == 3
