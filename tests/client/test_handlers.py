"""What a handler may count on while it runs in a dispatcher, and how its attempt ends."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import UTC, datetime, timedelta

import pytest
from dispatching import dispatching, registered, start
from rig import QUICK, Rig, eventually
from waiting import GIVE_UP, for_ever, until

import zart
from zart.testing.server import ServerUnderTest

ONCE = zart.Retry(max_attempts=1)
_where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


async def test_each_attempt_has_an_asyncio_task_and_a_context_of_its_own(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    tasks: list[asyncio.Task[object] | None] = []
    seen: list[str] = []

    async def handler(ctx: zart.StepContext) -> None:
        tasks.append(asyncio.current_task())
        seen.append(_where.get())
        _where.set(ctx.step_name)
        if ctx.step_name == "b":
            await asyncio.sleep(0)
        assert _where.get() == ctx.step_name

    def plain(ctx: zart.StepContext) -> None:
        seen.append(_where.get())
        _where.set(ctx.step_name)

    for name in ("a", "b", "c"):
        task.step(name=name)(handler)
    for name in ("d", "e"):
        task.step(name=name)(plain)
    async with dispatching(zart_server, task, concurrency=1):
        await (await start(rig, task)).result(timeout=GIVE_UP)

    assert seen == ["nowhere"] * 5
    assert len(set(tasks)) == 3


async def test_what_waited_for_a_slot_has_nothing_of_the_attempt_before_in_its_context(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    seen: list[str] = []

    @task.step()
    async def within_the_loop(ctx: zart.StepContext) -> None:
        seen.append(_where.get())
        _where.set(ctx.execution_id)

    @task.step()
    def in_a_thread(_: zart.StepContext) -> None:
        seen.append(_where.get())

    many = 300
    async with dispatching(zart_server, task, concurrency=1):
        await registered(rig, "t")
        starts = [zart.Start("t", None, f"x-{n}") for n in range(many)]
        await rig.client.batch_start_executions(starts)
        await until(lambda: len(seen) >= 2 * many)

    assert set(seen) == {"nowhere"}


async def test_a_handler_may_bound_and_group_its_own_work(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(retry=ONCE)
    async def bounded(_: zart.StepContext) -> str:
        try:
            async with asyncio.timeout(0.01):
                await for_ever()
        except TimeoutError:
            return "in time"
        return "never"

    @task.step(retry=ONCE)
    async def unbounded(_: zart.StepContext) -> None:
        async with asyncio.timeout(0.01):
            await for_ever()

    @task.step(retry=ONCE)
    async def grouped(_: zart.StepContext) -> int:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
        return sum(part.result() for part in parts)

    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        await handle.run(timeout=GIVE_UP)
    state = await handle.state()
    assert (state.step("bounded").result, state.step("grouped").result) == ("in time", 3)
    (attempt,) = state.step("unbounded").attempts
    assert attempt.error is not None
    assert (attempt.status, attempt.error.type) == ("FAILED", "TimeoutError")


class Odd(BaseException):
    """What hardly anybody catches."""


async def cancels_itself(_: zart.StepContext) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await for_ever()


async def cancels_itself_at_the_end(_: zart.StepContext) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


async def is_cancelled(_: zart.StepContext) -> None:
    raise asyncio.CancelledError


async def is_odd(_: zart.StepContext) -> None:
    raise Odd("very")


def is_odd_in_a_thread(_: zart.StepContext) -> None:
    raise Odd("very")


async def closes(_: zart.StepContext) -> None:
    raise GeneratorExit


async def closes_after_a_while(_: zart.StepContext) -> None:
    await asyncio.sleep(0)
    raise GeneratorExit


async def interrupts(_: zart.StepContext) -> None:
    raise KeyboardInterrupt


async def exits(_: zart.StepContext) -> None:
    raise SystemExit(1)


def closes_in_a_thread(_: zart.StepContext) -> None:
    raise GeneratorExit


def gives_what_closes(_: zart.StepContext) -> object:
    return closes(_)


class Unspeakable(Exception):
    """An error that breaks whoever asks what it says."""

    def __str__(self) -> str:
        raise LookupError("no words")


async def is_unspeakable(_: zart.StepContext) -> None:
    raise Unspeakable


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (cancels_itself, "CancelledError"),
        (is_cancelled, "CancelledError"),
        (is_odd, "Odd"),
        (is_odd_in_a_thread, "Odd"),
        (is_unspeakable, "Unspeakable"),
        (closes, "GeneratorExit"),
        (closes_after_a_while, "GeneratorExit"),
        (interrupts, "KeyboardInterrupt"),
        (exits, "SystemExit"),
        (closes_in_a_thread, "GeneratorExit"),
        (gives_what_closes, "GeneratorExit"),
    ],
)
async def test_however_a_handler_ends_its_attempt_is_told_and_its_slot_is_free(
    rig: Rig, zart_server: ServerUnderTest, handler: object, error: str
) -> None:
    task = zart.Task("t")
    task.step(name="odd", retry=QUICK)(handler)  # type: ignore[call-overload]
    task.step(name="next")(lambda _: "ran")

    async with dispatching(zart_server, task, concurrency=1):
        handle = await start(rig, task)
        await handle.run(timeout=GIVE_UP)
    state = await handle.state()
    attempts = state.step("odd").attempts
    assert [a.error and a.error.type for a in attempts] == [error] * QUICK.max_attempts
    assert state.step("next").result == "ran"


async def test_a_handler_that_returns_in_spite_of_a_cancellation_has_returned(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    task.step(name="a")(cancels_itself_at_the_end)
    task.step(name="b")(lambda _: "ran")
    async with dispatching(zart_server, task, concurrency=1):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == "ran"


async def test_each_attempt_ends_at_its_own_deadline(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """None ends early; in which order, on a clock that stands: test_time_limits.py."""
    task = zart.Task("t")
    ended: dict[str, timedelta] = {}  # and how long after its deadline

    async def handler(ctx: zart.StepContext) -> None:
        try:
            await for_ever()
        finally:
            ended[ctx.step_name] = datetime.now(UTC) - ctx.deadline
            assert ctx.cancelled

    for timeout in (5, 1, 3):
        task.step(name=f"s{timeout}", timeout=timeout, retry=ONCE)(handler)
    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        await handle.run(timeout=GIVE_UP)
    statuses = [a.status.value for s in (await handle.state()).steps for a in s.attempts]
    assert statuses == ["TIMED_OUT"] * 3
    assert ended.keys() == {"s1", "s3", "s5"}
    assert min(ended.values()) >= timedelta(seconds=-0.05)


async def is_extended(rig: Rig) -> bool:
    """Return whether the only lease there is was extended."""
    found: bool = await rig.db.fetchval(
        "SELECT lease_expires_at > started_at + lease_seconds * interval '1.1 seconds'"
        " FROM zart.leases"
    )
    return found


async def test_input_is_parsed_once_and_stays_the_same_when_a_lease_is_extended(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step()
    async def first(_: zart.StepContext) -> list[int]:
        return [1]

    @task.step(depends_on=[first], input={"n": 2})
    async def slow(ctx: zart.StepContext) -> list[object]:
        ctx.payload["seen"] = True
        await eventually(lambda: is_extended(rig))
        ctx.result_of(first).append(2)
        ctx.result_of(first).append(3)
        return [ctx.payload, ctx.input, ctx.result_of(first), ctx.idempotency_key]

    async with dispatching(zart_server, task, lease=6):
        result = await (await start(rig, task, {"user": 7})).result(timeout=GIVE_UP)
    assert result == [{"user": 7, "seen": True}, {"n": 2}, [1, 2, 3], "x:run:0/slow"]


async def test_a_handler_is_given_the_corrected_input_and_a_key_of_its_own(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(input={"card": 1}, retry=zart.Retry(max_attempts=1))
    async def charge(ctx: zart.StepContext) -> list[object]:
        if ctx.input == {"card": 1}:
            raise zart.StepFailed("wrong card", retryable=False)
        return [ctx.input, ctx.idempotency_key]

    async with dispatching(zart_server, task):
        handle = await start(rig, task)
        with pytest.raises(zart.RunFailed):
            await handle.result(timeout=GIVE_UP)
        await rig.client.retry_step("x", "charge", input={"card": 2})
        assert await handle.result(timeout=GIVE_UP) == [{"card": 2}, "x:run:0/charge/2"]
