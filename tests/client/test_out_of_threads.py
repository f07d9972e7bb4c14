"""A dispatcher whose process can start no thread goes on, and does nothing twice."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from authority import Authority
from client.no_threads import no_more_threads
from client.test_streamed import BY_CALL, BY_STREAM, NOTHING, Client, scripted
from dispatching import dispatching, start
from rig import Rig
from streaming import lease_request
from waiting import GIVE_UP, eventually, until

import zart
from zart.channel import sync_channel
from zart.closing import close_channel
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.stream import Stream
from zart.dispatcher.thread_room import ThreadRoom
from zart.renewing import RenewingChannel
from zart.testing.server import ServerUnderTest

MANY = 51  # outcomes, which go by a call


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


async def test_the_channel_that_follows_new_files_outlasts_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way on the one before has a thread, which is no thread of this one."""
    monkeypatch.setattr("zart.renewing._LOOK_EVERY", 0.0)
    bundle = Authority(tmp_path).ca
    async with scripted() as (server, _):

        def make(_: grpc.ChannelCredentials | None) -> grpc.Channel:
            return grpc.insecure_channel(server.address)

        with RenewingChannel(make, zart.Credentials(ca=bundle)) as channel:
            client = Client(channel, patience=GIVE_UP)
            await client.proven()
            os.utime(bundle, (1, 1))
            with no_more_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
                await client.report(NOTHING, MANY)
            assert await client.report(NOTHING, MANY) == BY_CALL


async def test_what_a_lost_channel_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart.dispatcher.arrivals._OVERDUE", 0.0)
    async with scripted() as (server, _):
        channel = sync_channel(server.address)
        calls = Client(channel).calls
        with no_more_threads(), pytest.raises(RuntimeError):
            calls._stub.LeaseTasks.future(lease_request())  # with no look for room
        with pytest.raises(zart.errors.Unreachable):
            await calls.lease(lease_request(), 0.1)
        asking = asyncio.create_task(calls.lease(lease_request(), GIVE_UP))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, GIVE_UP)
        close_channel(channel)


def test_what_intercepts_calls_and_makes_a_generator_of_a_stream_has_none() -> None:
    """Its end would not be told, nor could it be cancelled: the dispatcher goes by calls."""
    room = ThreadRoom(grpc.insecure_channel("127.0.0.1:1"))
    stub = SimpleNamespace(DispatchTasks=lambda requests: (each for each in requests))
    with pytest.raises(TypeError, match="generator"):
        Stream(stub, set(), Pulse(30.0, in_threads=True), room)
    assert not room._under_way
