"""One object that many attempts raise: each tells its own frames, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
from client.attempting import Attempts, attempting
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.dispatcher import outcomes, own_frames, traceback_text
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import in_hand_of
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb


@pytest.fixture
def attempts() -> Iterator[Attempts]:
    with attempting() as made:
        yield made


def handlers_that_raise(error: BaseException, attempts: Attempts) -> list[Callable[[Any], Any]]:
    def plain(_: zart.StepContext) -> None:
        _held = attempts.hold()
        raise error

    async def in_the_loop(_: zart.StepContext) -> None:
        _held = attempts.hold()
        raise error

    def later(context: zart.StepContext) -> Any:
        return in_the_loop(context)

    return [plain, in_the_loop, later]


async def test_each_attempt_tells_its_own_frames_and_keeps_nothing(attempts: Attempts) -> None:
    error = zart.StepFailed("not configured")
    for handler in handlers_that_raise(error, attempts) * 3:
        told = await attempts.failed(handler)
        assert told.error.details.count("raise error") == 1
        assert told.error.details.count("handlers.py") == 1
        assert error.__traceback__ is None
    assert attempts.left() == 0


async def test_what_a_future_keeps_is_told_from_where_it_is_asked(attempts: Attempts) -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.set_exception(ConnectionError("no configuration"))

    def handler(_: zart.StepContext) -> None:
        _held = attempts.hold()
        future.result()

    for _ in range(3):
        told = await attempts.failed(handler)
        assert told.error.details.count("future.result()") == 1
    assert attempts.left() == 0


async def test_causes_contexts_and_groups_keep_nothing_either(attempts: Attempts) -> None:
    cause, context, member, error = ValueError("a"), ValueError("b"), ValueError("c"), KeyError("d")

    def of_a_cause(_: zart.StepContext) -> None:
        _held = attempts.hold()
        try:
            raise cause
        except ValueError as caught:
            raise error from caught

    async def of_a_context(_: zart.StepContext) -> None:
        _held = attempts.hold()
        try:
            raise context
        except ValueError:
            raise error  # noqa: B904 - the case

    async def of_a_group(_: zart.StepContext) -> None:
        _held = attempts.hold()
        async with asyncio.TaskGroup() as group:
            group.create_task(raising())

    async def raising() -> None:
        _held = attempts.hold()
        raise member

    for handler, words in (
        (of_a_cause, "raise cause"),
        (of_a_context, "raise context"),
        (of_a_group, "raise member"),
    ):
        error.__cause__, error.__suppress_context__ = None, False
        for _ in range(2):
            told = await attempts.failed(handler)
            assert told.error.details.count(words) == 1
        assert attempts.left() == 0
    assert error.__context__ is None


async def test_a_cause_that_it_was_made_with_is_told_each_time(attempts: Attempts) -> None:
    error = zart.StepFailed("not configured")
    error.__cause__ = FileNotFoundError("config.toml")
    (plain, *_) = handlers_that_raise(error, attempts)
    for _ in range(3):
        assert "FileNotFoundError: config.toml" in (await attempts.failed(plain)).error.details


async def test_an_attempt_that_is_over_keeps_nothing(attempts: Attempts) -> None:
    error = zart.StepFailed("too late")
    for handler in handlers_that_raise(error, attempts):
        task = zart.Task("t")
        task.step(name="a")(handler)
        (in_hand,) = in_hand_of([pb.LeasedTask(task_id="1-1-1", step_name="a")], 0.0)
        in_hand.lost = True
        await asyncio.wait_for(
            run_handler(in_hand, task.steps["a"], attempts.threads, lambda *_: None), GIVE_UP
        )
    assert attempts.left() == 0


async def test_attempts_that_raise_it_at_once_tell_each_their_own(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each is about to be told, all others have raised it, too."""
    error = zart.StepFailed("not configured")
    together = threading.Barrier(4, timeout=GIVE_UP)
    real = own_frames.own_frames

    def after_all(at: TracebackType) -> TracebackType | None:
        together.wait()
        return real(at)

    def handler_of(number: int) -> Callable[[Any], None]:
        def plain(_: zart.StepContext) -> None:
            _held = attempts.hold()
            exec(compile(f"def by_{number}(): raise error\nby_{number}()", "made", "exec"), scope)  # noqa: S102

        scope = {"error": error}
        return plain

    monkeypatch.setattr(outcomes, "own_frames", after_all)
    told = await asyncio.gather(*(attempts.failed(handler_of(number)) for number in range(4)))
    for number, each in enumerate(told):
        names = [n for n in range(4) if f"in by_{n}\n" in each.error.details]
        assert names == [number], each.error.details
    assert attempts.left() == 0


async def test_a_plain_step_is_told_in_its_thread(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_in: list[threading.Thread] = []
    text = traceback_text.traceback_text

    def noted(*args: Any) -> str:
        told_in.append(threading.current_thread())
        return text(*args)

    monkeypatch.setattr(outcomes, "traceback_text", noted)
    (plain, *_) = handlers_that_raise(ValueError("no"), attempts)
    await attempts.failed(plain)
    (thread,) = told_in
    assert thread is not threading.current_thread()


async def test_of_very_many_frames_only_so_many_are_looked_at(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = traceback.FrameSummary
    looked_at: list[object] = []

    class Counted(extract):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            looked_at.append(args)
            super().__init__(*args, **options)

    def deep(depth: int) -> float:
        return wide(depth - 1) if depth else 1 / 0

    def wide(depth: int) -> float:
        return deep(depth - 1) if depth else 1 / 0

    monkeypatch.setattr(traceback, "FrameSummary", Counted)
    told = await attempts.failed(lambda _: deep(800))
    assert "ZeroDivisionError" in told.error.details
    assert 0 < len(looked_at) <= 150


async def test_a_server_has_of_each_attempt_what_it_raised(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    error = zart.StepFailed("not configured", retryable=False)
    task = zart.Task("t")

    @task.step()
    def plain(_: zart.StepContext) -> None:
        raise error

    async with dispatching(zart_server, task):
        for execution_id in ("x", "y", "z"):
            handle = await start(rig, task, execution_id=execution_id)
            await handle.run(timeout=GIVE_UP)
            (attempt,) = (await handle.state()).step("plain").attempts
            assert attempt.error is not None
            assert attempt.error.details.count("raise error") == 1
