"""zart.testing.run does as a server and a dispatcher do, in one process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from client.test_dispatcher_cancelled import AtWork
from waiting import GIVE_UP, block_until, for_ever, until

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
    task.step(name="charge", once=True, timeout=0.5, retry=retry)(function)
    with pytest.raises(
        zart.RunFailed, match=r"charge: ran longer than 0\.5 s: it may have had its effect"
    ):
        await zart.testing.run(task)
    await until(lambda: attempts)  # its thread may begin late
    assert attempts == [1]


async def test_such_a_step_is_repeated_where_it_says_that_it_failed() -> None:
    task = zart.Task("t")

    @task.step(once=True, retry=zart.Retry(max_attempts=3))
    def charge(ctx: zart.StepContext) -> int:
        if ctx.attempt < 3:
            raise RuntimeError("declined")
        return ctx.attempt

    assert await zart.testing.run(task) == 3


async def test_cancelled_it_ends_and_breaks_off_what_is_at_work() -> None:
    work = AtWork()
    running = asyncio.create_task(zart.testing.run(work.task))
    await until(lambda: len(work.begun) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: work.broken_off == {"async", "plain"})
    await until(lambda: asyncio.all_tasks() <= work.tasks)


async def test_cancelled_it_ends_whatever_its_steps_do() -> None:
    task = zart.Task("t")
    stubborn: set[str] = set()
    is_over = asyncio.Event()
    are_over: list[bool] = []
    ended: list[str] = []

    @task.step(name="async")
    async def waits(ctx: zart.StepContext) -> None:
        while not is_over.is_set():
            stubborn.add(ctx.step_name)
            try:
                await is_over.wait()
            except asyncio.CancelledError:
                continue

    @task.step(name="plain")
    def blocks(ctx: zart.StepContext) -> None:
        stubborn.add(ctx.step_name)
        try:
            block_until(lambda: are_over)
        finally:
            ended.append(ctx.step_name)

    running = asyncio.create_task(zart.testing.run(task))
    await until(lambda: len(stubborn) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not ended
    is_over.set()
    are_over.append(True)


async def test_each_plain_step_has_a_thread() -> None:
    task = zart.Task("t")
    at_work: set[str] = set()

    def meets(ctx: zart.StepContext) -> None:
        at_work.add(ctx.step_name)
        block_until(lambda: len(at_work) == 50)

    for number in range(50):
        task.step(name=f"s-{number}", retry=zart.Retry(max_attempts=1))(meets)
    await zart.testing.run(task)


async def test_a_plain_step_that_blocks_beyond_its_time_is_repeated_beside_that() -> None:
    task = zart.Task("t")
    gate, begun = threading.Event(), list[int]()

    @task.step(timeout=0.5, retry=zart.Retry(max_attempts=2))
    def blocks(ctx: zart.StepContext) -> None:
        begun.append(ctx.attempt)
        gate.wait(GIVE_UP)

    before = asyncio.all_tasks()
    try:
        with pytest.raises(zart.RunFailed, match=r"blocks: ran longer than 0\.5 s"):
            await asyncio.wait_for(zart.testing.run(task), GIVE_UP / 2)
        await until(lambda: len(begun) >= 2)  # threads may begin late
        assert begun == [1, 2]
        assert asyncio.all_tasks() <= before
    finally:
        gate.set()


async def test_a_handler_that_cancels_itself_has_failed() -> None:
    task = zart.Task("t")
    attempts: list[int] = []

    @task.step()
    async def charge(ctx: zart.StepContext) -> None:
        attempts.append(ctx.attempt)
        itself = asyncio.current_task()
        assert itself is not None
        itself.cancel()
        await for_ever()

    with pytest.raises(zart.RunFailed, match="charge: CancelledError"):
        await zart.testing.run(task)
    assert attempts == [1, 2, 3]


async def test_a_result_of_a_step_that_the_task_has_not_is_refused() -> None:
    task = zart.Task("t")
    ran: list[str] = []

    @task.step()
    def charge_card(ctx: zart.StepContext) -> None:
        ran.append(ctx.step_name)

    with pytest.raises(ValueError, match=r"<Task 't': charge-card> has no step 'charge_card'"):
        await zart.testing.run(task, results={"charge_card": "stub"})
    assert not ran
    assert await zart.testing.run(task, results={charge_card: "stub"}) == "stub"
