"""The dispatcher, with a real server: slots, leases, time limits, an orderly end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from dispatching import dispatching, registered, start
from rig import QUICK, Rig, eventually
from waiting import block_until, for_ever, until

import zart
from zart.testing.server import ServerUnderTest


async def is_extended(rig: Rig, step_name: str, seconds: float) -> bool:
    """Return whether a running step's lease lasts so long, counted from its begin."""
    found: bool = await rig.db.fetchval(
        "SELECT bool_or(lease_expires_at > started_at + $2 * interval '1 second')"
        " FROM zart.leases WHERE step_name = $1", step_name, seconds,
    )  # fmt: skip
    return found


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
        assert await handle.result(timeout=10) == 42


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
        run = await handle.run(timeout=10)
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
        run = await (await start(rig, task)).run(timeout=10)
    assert run.status == "FAILED"
    assert type(value).__name__ in run.error
    assert len((await rig.client.get_step("x", "a")).attempts) == 1


async def test_a_result_too_large_kills_the_step(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    task.step(name="a")(lambda _: "x" * 1_100_000)
    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=10)
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
        await (await start(rig, task)).result(timeout=20)
    assert most == 3


async def test_a_wide_dispatcher_of_quick_handlers_goes_on_leasing(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """It leases ahead; more than one call gives must never be what makes a call worth it."""
    task = zart.Task("t")

    @task.step()
    async def quick(_ctx: zart.StepContext) -> None:
        pass

    async with dispatching(zart_server, task, concurrency=256):
        await registered(rig, "t")
        for batch in range(3):
            ids = [f"x{batch}-{n}" for n in range(1000)]
            await rig.client.batch_start_executions([zart.Start("t", None, i) for i in ids])

            async def drained() -> bool:
                return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.tasks)")

            await eventually(drained)


async def test_leases_are_extended_while_a_handler_runs(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step()
    async def slow(ctx: zart.StepContext) -> int:
        await eventually(lambda: is_extended(rig, "slow", 2))
        return ctx.attempt

    async with dispatching(zart_server, task, lease=1):
        assert await (await start(rig, task)).result(timeout=60) == 1


async def test_a_timeout_cancels_an_async_handler_and_a_plain_one_sees_it(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    ended: list[str] = []
    once = zart.Retry(max_attempts=1)

    @task.step(timeout=0.3, retry=once)
    async def sleeper(ctx: zart.StepContext) -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    @task.step(timeout=0.3, retry=once)
    def blocker(ctx: zart.StepContext) -> None:
        block_until(lambda: ctx.cancelled)
        ended.append("saw it")

    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        await handle.run(timeout=10)
        state = await handle.state()
    assert sorted(ended) == ["cancelled", "saw it"]
    assert [a.status.value for s in state.steps for a in s.attempts] == ["TIMED_OUT"] * 2


async def test_a_restart_under_it_cancels_the_handler_and_its_result_is_refused(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    cancelled = asyncio.Event()

    @task.step()
    async def first(ctx: zart.StepContext) -> int:
        if ctx.run_number == 0:
            try:
                await for_ever()
            except asyncio.CancelledError:
                cancelled.set()
                raise
        return ctx.run_number

    async with dispatching(zart_server, task, lease=1):
        handle = await start(rig, task)

        async def running() -> bool:
            return (await rig.statuses())["first"] == "RUNNING"

        await eventually(running)
        answer = await rig.client.restart("x")
        assert len(answer.fenced_steps) == 1
        await asyncio.wait_for(cancelled.wait(), 10)
        assert await handle.result(timeout=10) == 1


async def test_stopping_lets_handlers_finish_and_gives_back_what_has_not_begun(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    begun, is_stopping = asyncio.Event(), asyncio.Event()

    @task.step()
    async def slow(ctx: zart.StepContext) -> str:
        begun.set()
        await is_stopping.wait()
        return "done"

    @task.step(depends_on=[slow])
    async def after(ctx: zart.StepContext) -> None:
        await asyncio.sleep(0)

    async with dispatching(zart_server, task) as stop:
        await start(rig, task)
        await begun.wait()
        stop.set()
        await asyncio.sleep(0)
        is_stopping.set()
    assert await rig.statuses() == {"slow": "COMPLETED", "after": "SCHEDULED"}


async def test_what_does_not_finish_in_the_grace_period_is_released_and_does_not_count(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    begun = asyncio.Event()

    @task.step(retry=zart.Retry(max_attempts=1))
    async def endless(ctx: zart.StepContext) -> None:
        begun.set()
        await for_ever()

    @task.step(retry=zart.Retry(max_attempts=1))
    def stubborn(ctx: zart.StepContext) -> None:
        block_until(lambda: ctx.cancelled)

    async with dispatching(zart_server, task, grace=0.1) as stop:
        await start(rig, task)
        await begun.wait()
        stop.set()
    assert await rig.statuses() == {"endless": "SCHEDULED", "stubborn": "SCHEDULED"}
    (attempt,) = (await rig.client.get_step("x", "endless")).attempts
    assert attempt.status == "RELEASED"


async def test_stopping_under_load_leaves_no_lease_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    for n in range(400):
        task.step(name=f"s{n}")(lambda _: None)
    for round_ in range(5):
        async with dispatching(zart_server, task, concurrency=4) as stop:
            await start(rig, task, execution_id=f"x{round_}")

            async def are_some_done(least: int = 30 * round_) -> bool:
                done: int = await rig.db.fetchval(
                    "SELECT count(*) FROM zart.steps WHERE status = 'completed'"
                )
                return done >= least

            await eventually(are_some_done)
            stop.set()
        leased = await rig.db.fetchval("SELECT count(*) FROM zart.leases")
        assert leased == 0


async def test_stopping_while_next_steps_are_taken_on_leaves_no_lease_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    for n in range(200):
        task.step(name=f"s{n}")(lambda _: None)
    for round_ in range(5):
        async with dispatching(zart_server, task, concurrency=4) as stop:
            for n in range(4):
                await start(rig, task, execution_id=f"x{round_}-{n}")

            async def is_under_way(n: int = round_) -> bool:
                done = await rig.db.fetchval(
                    "SELECT count(*) FROM zart.steps WHERE status = 'completed'"
                )
                return bool(done > 50 * (n + 1))

            await eventually(is_under_way)
            stop.set()
        assert await rig.db.fetchval("SELECT count(*) FROM zart.leases") == 0


async def test_a_long_chain_does_not_keep_a_slot_from_what_waits(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    order: list[str] = []

    async def handler(ctx: zart.StepContext) -> None:
        if not order:
            await rig.client.start(task, execution_id="y", steps=[zart.StepSpec("s0")])
        order.append(ctx.execution_id)

    for n in range(40):
        task.step(name=f"s{n}")(handler)
    async with dispatching(zart_server, task, concurrency=1):
        await (await start(rig, task)).result(timeout=20)
    assert len(order) == 41
    assert 1 <= order.index("y") <= 17


async def test_waiting_for_a_slot_loses_no_lease(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    for n in range(60):
        task.step(name=f"quick{n}")(lambda _: None)

    @task.step(depends_on=["quick0"])
    async def slow(ctx: zart.StepContext) -> None:
        await eventually(lambda: is_extended(rig, "slow", 2))

    async with dispatching(zart_server, task, lease=1, concurrency=1):
        run = await (await start(rig, task)).run(timeout=90)
    assert run.status == "COMPLETED"
    state = await rig.client.get_execution("x")
    assert all(len([a for a in s.attempts if a.status != "RELEASED"]) == 1 for s in state.steps)


async def test_what_was_leased_ahead_goes_to_whoever_has_a_slot(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Quick steps let it lease far ahead; then slow ones take its slots."""
    task, let_go = zart.Task("t"), asyncio.Event()
    ran: list[str] = []

    @task.step()
    async def step(ctx: zart.StepContext) -> None:
        ran.append(ctx.execution_id)
        if ctx.payload == "slow":
            await let_go.wait()

    async with dispatching(zart_server, task, lease=3, concurrency=2):
        await registered(rig, "t")
        kinds = ["quick"] * 400 + ["slow"] * 2 + ["quick"] * 100
        starts = [zart.Start("t", kind, f"x{n}") for n, kind in enumerate(kinds)]
        await rig.client.batch_start_executions(starts)
        async with dispatching(zart_server, task, lease=3, concurrency=2):

            async def are_all_but_the_slow_done() -> bool:
                return len(set(ran)) == len(kinds) and await rig.db.fetchval(
                    "SELECT count(*) = 2 FROM zart_tasks"
                )

            await eventually(are_all_but_the_slow_done)
            let_go.set()
    assert len(ran) == len(kinds)


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
        assert await (await start(rig, task)).result(timeout=30) == 10_000_000


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
    await asyncio.wait_for(running, 15)
