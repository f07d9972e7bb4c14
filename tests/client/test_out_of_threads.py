"""A dispatcher whose process can start no thread goes on, and does nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from client.no_threads import no_more_threads
from client.test_streamed import BY_CALL, BY_STREAM, NOTHING, scripted
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, eventually, until

import zart
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.stream import Stream
from zart.dispatcher.thread_room import ThreadRoom
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


async def test_it_leases_again_once_threads_can_be_started(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    task = zart.Task("t", sequential=True)

    @task.step()
    async def meets_the_limit(_ctx: zart.StepContext) -> None:
        with no_more_threads():
            await until(lambda: "nothing is leased" in caplog.text)

    @task.step()
    def follows(_ctx: zart.StepContext) -> str:
        return "done"

    # Each poll is a call then, with nothing under way beside it that has a thread.
    async with dispatching(zart_server, task, stream=False):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == "done"
    assert """nothing is leased, a repeat follows: RuntimeError("can't start""" in caplog.text


async def test_its_channel_outlasts_the_limit() -> None:
    """Else gRPC takes a thread that it could not start for one that runs, and waits for it for ever."""
    async with scripted() as (_, client):
        with no_more_threads():
            for _ in range(2):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await client.report(NOTHING)
        assert await client.report(NOTHING) == BY_CALL
        await client.proven()
        assert await client.report(NOTHING) == BY_STREAM


def test_what_intercepts_calls_and_makes_a_generator_of_a_stream_has_none() -> None:
    """Its end would not be told, nor could it be cancelled: the dispatcher goes by calls."""
    room = ThreadRoom()
    stub = SimpleNamespace(DispatchTasks=lambda requests: (each for each in requests))
    with pytest.raises(TypeError, match="generator"):
        Stream(stub, set(), Pulse(30.0, in_threads=True), room)
    assert not room._under_way
