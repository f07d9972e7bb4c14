"""The dispatcher, with a real server: handlers, results, slots and time limits."""

from __future__ import annotations

import asyncio
import threading

import pytest
from dispatching import dispatching, registered, start
from rig import QUICK, Rig, eventually
from waiting import GIVE_UP, block_until, for_ever, until

import zart
from zart.testing.server import ServerUnderTest


async def test_async_and_plain_handlers_run_and_results_are_typed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("order")

    @task.step()
    async def lookup(ctx: zart.StepContext) -> dict[str, int]:
        return {"n": ctx.payload["n"]}

    @task.step(depends_on=[lookup])
    def double(ctx: zart.StepContext) -> int:
        assert threading.current_thread().name.startswith("zart-step")
        return ctx.result_of(lookup)["n"] * 2

    async with dispatching(zart_server, task):
        handle = await start(rig, task, {"n": 21})
        assert await handle.result(timeout=GIVE_UP) == 42


async def test_every_exception_is_retried_but_step_failed_not_retryable(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(retry=QUICK)
    async def flaky(ctx: zart.StepContext) -> int:
        if ctx.attempt == 1:
            raise SystemExit(3)
        if ctx.attempt == 2:
            raise zart.StepFailed("once more", retry_after=0.01, details="told")
        return ctx.attempt

    @task.step(retry=QUICK)
    def hopeless(ctx: zart.StepContext) -> None:
        raise zart.StepFailed("declined", retryable=False)

    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        run = await handle.run(timeout=GIVE_UP)
    assert run.error == "hopeless: declined"
    state = await handle.state()
    assert state.step("flaky").result == 3
    attempts = state.step("flaky").attempts
    errors = [a.error for a in attempts if a.error]
    assert [(e.type, e.details[:4]) for e in errors] == [
        ("SystemExit", "Trac"),
        ("StepFailed", "told"),
    ]
    assert len(state.step("hopeless").attempts) == 1


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), "\ud800", b"x"])
async def test_a_result_that_is_not_json_kills_the_step_naming_the_type(
    rig: Rig, zart_server: ServerUnderTest, value: object
) -> None:
    task = zart.Task("t")
    task.step(name="a")(lambda _: value)
    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert run.status == "FAILED"
    assert type(value).__name__ in run.error
    assert len((await rig.client.get_step("x", "a")).attempts) == 1


async def test_a_result_too_large_kills_the_step(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    task.step(name="a")(lambda _: "x" * 1_100_000)
    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert "at most 1048576" in run.error


async def test_concurrency_is_bounded(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    running, most = 0, 0
    are_three = asyncio.Event()

    async def handler(ctx: zart.StepContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            are_three.set()
        await are_three.wait()
        for _ in range(20):  # a fourth would begin meanwhile
            await asyncio.sleep(0)
        running -= 1

    for n in range(20):
        task.step(name=f"s{n}")(handler)
    async with dispatching(zart_server, task, concurrency=3):
        await (await start(rig, task)).result(timeout=GIVE_UP)
    assert most == 3


async def test_a_timeout_cancels_an_async_handler_and_a_plain_one_sees_it(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    ended: list[str] = []
    once = zart.Retry(max_attempts=1)

    @task.step(timeout=3, retry=once)
    async def sleeper(ctx: zart.StepContext) -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @task.step(timeout=3, retry=once)
    def blocker(ctx: zart.StepContext) -> None:
        block_until(lambda: ctx.cancelled)
        ended.append("saw it")

    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        await handle.run(timeout=GIVE_UP)
        state = await handle.state()
    assert sorted(ended) == ["cancelled", "saw it"]
    assert [a.status.value for s in state.steps for a in s.attempts] == ["TIMED_OUT"] * 2


async def test_it_asks_only_for_handlers_it_has(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    task.step(name="known")(lambda _: "ran")
    async with dispatching(zart_server, task):
        await registered(rig, "t")
        steps = [zart.StepSpec("a", handler="known", input=7), zart.StepSpec("b", handler="new")]
        await rig.client.start("t", execution_id="x", steps=steps)

        async def done() -> bool:
            return (await rig.statuses())["a"] == "COMPLETED"

        await eventually(done)
        assert (await rig.statuses())["b"] == "SCHEDULED"


async def test_large_upstream_results_reach_the_handler(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    names = [f"big{n}" for n in range(10)]
    for name in names:
        task.step(name=name)(lambda _: "x" * 1_000_000)

    @task.step(depends_on=names)
    async def total(ctx: zart.StepContext) -> int:
        return sum(len(ctx.result_of(name)) for name in names)

    async with dispatching(zart_server, task):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == 10_000_000


async def test_a_dispatcher_waits_for_a_server_for_ever(
    zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    task = zart.Task("t")
    task.step(name="a")(lambda _: None)
    stop = asyncio.Event()
    running = asyncio.create_task(zart.Dispatcher([task], address="127.0.0.1:9").run(stop))
    await until(lambda: caplog.records)  # it says that it has to wait
    assert not running.done()
    stop.set()
    await asyncio.wait_for(running, GIVE_UP)
