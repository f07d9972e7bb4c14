"""What was done is never given up, whatever something between says to whichever call."""

from __future__ import annotations

import asyncio
import logging
import time

import grpc
import pytest
from between import Between, Refusal, Refusing
from dispatching import dispatching, registered, start
from refusals import FOREIGN, LATE, OURS, SILENT
from rig import Rig
from waiting import GIVE_UP, eventually, until

import zart
from zart.testing.server import ServerUnderTest

ONCE = zart.Retry(max_attempts=1)
# Of a definition these are our own last word.
_LAST_WORDS = {"PAYLOAD_TOO_LARGE", "INVALID_FIELD"}
# More than what the dispatcher once took for a final word.
_REPORTS = 5
_LEASE = 15.0  # seconds; extended after a third of it, and a busy machine may be late


async def _one(
    rig: Rig,
    server: ServerUnderTest,
    refusal: Refusal,
    *,
    reports: int = _REPORTS,
    stream: bool = False,
) -> None:
    """Run an execution behind a proxy that refuses each call for a while.

    With ``stream`` outcomes are refused until one was sent over a stream, which is ended so.
    """
    name = f"{refusal.code.name}-{refusal.domain}-{refusal.late}-{stream}"
    task, ran, stop = zart.Task(name), 0, asyncio.Event()

    @task.step(retry=ONCE)
    async def a(ctx: zart.StepContext) -> str:
        nonlocal ran
        ran += 1
        await until(lambda: proxy.passed["ExtendLeases" if not stream else "Ping"] > 0)
        return "done"

    is_ok = refusal.code is grpc.StatusCode.OK
    is_last_word = refusal.domain == "zart" and refusal.reason in _LAST_WORDS
    refusing = Refusing(
        refusal,
        RegisterTask=0 if is_ok or is_last_word else 2,
        LeaseTasks=0 if stream else 2,
        ExtendLeases=2,
        ReportTasks=reports,
    )

    def refuse(method: str, request: bytes) -> Refusal | None:
        if method == "ReportTasks" and stream and not proxy.cut[method]:
            return refusal  # also a call: the dispatcher may not know yet that its stream passes
        return refusing(method, request)

    async with Between(server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher(
            [task], address=proxy.address, lease=_LEASE, dispatcher_id=name, stream=stream
        )
        running = asyncio.create_task(dispatcher.run(stop))
        try:
            await registered(rig, name)
            handle = await rig.client.start(task, execution_id=name)
            assert await handle.result(timeout=GIVE_UP) == "done", refusal
            # A late refusal is of what was recorded before: its stream ends after the run.
            await until(lambda: not stream or proxy.cut["ReportTasks"])
        finally:
            stop.set()
            await running
    (attempt,) = (await rig.client.get_step(name, "a")).attempts
    assert (ran, attempt.status, attempt.dispatcher_id) == (1, "COMPLETED", name), refusal
    assert stream == (proxy.cut["ReportTasks"] > 0)
    assert proxy.refused["ReportTasks"] >= reports


async def test_what_was_done_is_recorded_once_whatever_each_call_is_refused_with(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    async with asyncio.TaskGroup() as group:
        for refusal in (*SILENT, *FOREIGN, *OURS):
            group.create_task(_one(rig, zart_server, refusal))
        for refusal in (*SILENT, *LATE, *FOREIGN[::4], *OURS):
            group.create_task(_one(rig, zart_server, refusal, stream=True))


async def _refused_for(
    rig: Rig, server: ServerUnderTest, refusal: Refusal, *, seconds: float, stream: bool
) -> None:
    """Run an execution behind a proxy that refuses every call for so long, from its report on.

    With ``stream`` from when that has ended its stream.
    """
    name = f"{refusal.code.name}-{refusal.domain}-{seconds:g}-{stream}"
    task, stop, since = zart.Task(name), asyncio.Event(), 0.0

    @task.step(retry=ONCE)
    async def a(_ctx: zart.StepContext) -> str:
        await until(lambda: not stream or proxy.passed["Ping"])
        return "done"

    def refuse(method: str, _request: bytes) -> Refusal | None:
        nonlocal since
        if method == "ReportTasks" and not since:
            if stream and not proxy.cut[method]:
                return refusal  # also a call: it may not be known yet that the stream passes
            since = time.monotonic()
        return refusal if since and time.monotonic() - since < seconds else None

    async with Between(server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher(
            [task], address=proxy.address, dispatcher_id=name, stream=stream
        )
        running = asyncio.create_task(dispatcher.run(stop))
        try:
            await registered(rig, name)
            handle = await rig.client.start(task, execution_id=name)
            assert await handle.result(timeout=GIVE_UP) == "done", refusal
            assert time.monotonic() - since >= seconds
            assert stream == (proxy.cut["ReportTasks"] > 0)
        finally:
            stop.set()
            await running
    (attempt,) = (await rig.client.get_step(name, "a")).attempts
    assert (attempt.status, attempt.dispatcher_id) == ("COMPLETED", name), refusal


async def test_however_long_all_calls_are_refused_what_was_done_is_recorded(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    async with asyncio.TaskGroup() as group:
        for refusal in (*SILENT[1::3], *FOREIGN[::5], *OURS[:4]):
            for seconds, stream in ((1.5, True), (1.5, False), (10.0, True)):
                work = _refused_for(rig, zart_server, refusal, seconds=seconds, stream=stream)
                group.create_task(work)


async def test_what_is_refused_for_ever_is_told_and_dropped_once_its_lease_is_given_up(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """The step's timeout bounds its lease, so that it does not run for ever; others are recorded."""
    task = zart.Task("t")
    task.step(name="minded", retry=ONCE, timeout=3)(lambda _: "minded")
    task.step(name="other", retry=ONCE)(lambda _: "other")

    def refuse(method: str, request: bytes) -> Refusal | None:
        is_minded = method == "ReportTasks" and b"minded" in request
        return Refusal(grpc.StatusCode.INTERNAL) if is_minded else None

    async with (
        Between(zart_server.address, refuse) as proxy,
        dispatching(zart_server, task, address=proxy.address, lease=9.0),
    ):
        handle = await start(rig, task)
        with pytest.raises(zart.errors.RunFailed):
            await handle.result(timeout=GIVE_UP)
        await until(lambda: "its outcome is dropped" in caplog.text)
        dropped = proxy.refused["ReportTasks"]
    assert proxy.refused["ReportTasks"] == dropped
    assert "an outcome is refused, also by itself, a repeat follows: x:run:0/minded" in caplog.text
    steps = {name: await rig.client.get_step("x", name) for name in ("minded", "other")}
    ended = {name: step.attempts[0].status for name, step in steps.items()}
    assert ended == {"minded": "TIMED_OUT", "other": "COMPLETED"}


async def test_a_trouble_is_told_when_it_begins_and_when_it_ends_not_each_time(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart.dispatcher")
    await _one(rig, zart_server, Refusal(grpc.StatusCode.PERMISSION_DENIED), reports=2)
    told = [record.getMessage() for record in caplog.records]
    for what in ("no server takes the tasks", "nothing is leased", "leases are not extended",
                 "outcomes wait"):  # fmt: skip
        assert [line.startswith(f"over: {what}") for line in told if what in line] == [
            False,
            True,
        ], what


async def test_an_outcome_that_nobody_between_lets_through_keeps_no_other_back(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """A proxy that takes no large messages refuses a whole call for the one outcome in it."""
    task, stop = zart.Task("t"), asyncio.Event()
    allows_all = False
    size = 40

    @task.step(retry=ONCE)
    async def a(ctx: zart.StepContext) -> str:
        await gate.wait()
        return "x" * 100_000 if ctx.payload == size - 1 else "small"

    def refuse(method: str, request: bytes) -> Refusal | None:
        is_too_large = method == "ReportTasks" and len(request) > 50_000 and not allows_all
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED) if is_too_large else None

    gate = asyncio.Event()
    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address, concurrency=size)
        running = asyncio.create_task(dispatcher.run(stop))
        await registered(rig, "t")
        await rig.client.batch_start_executions([zart.Start("t", n, f"x{n}") for n in range(size)])

        async def all_run() -> bool:
            return bool(await rig.db.fetchval("SELECT count(*) = $1 FROM zart.leases", size))

        async def all_but_one_ended() -> bool:
            return bool(await rig.db.fetchval("SELECT count(*) = 1 FROM zart.leases"))

        await eventually(all_run)
        gate.set()
        await eventually(all_but_one_ended)
        assert (await rig.statuses(f"x{size - 1}")) == {"a": "RUNNING"}
        allows_all = True
        run = await rig.client.handle(f"x{size - 1}").run(timeout=GIVE_UP)
        assert run.status == "COMPLETED"
        stop.set()
        await running


async def test_a_dispatcher_that_stops_goes_on_to_report(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, stop = zart.Task("t"), asyncio.Event()
    task.step(name="a", retry=ONCE)(lambda _: "done")
    is_open = False

    def refuse(method: str, _request: bytes) -> Refusal | None:
        closed = method == "ReportTasks" and not is_open
        return Refusal(grpc.StatusCode.UNAUTHENTICATED) if closed else None

    async with Between(zart_server.address, refuse) as proxy:
        dispatcher = zart.Dispatcher([task], address=proxy.address, grace=30)
        running = asyncio.create_task(dispatcher.run(stop))
        await registered(rig, "t")
        handle = await rig.client.start("t", execution_id="x")
        await until(lambda: proxy.refused["ReportTasks"] > 0)
        stop.set()
        await until(lambda: proxy.refused["ReportTasks"] >= _REPORTS)
        assert not running.done()
        is_open = True
        await asyncio.wait_for(running, GIVE_UP)
    assert await handle.result(timeout=GIVE_UP) == "done"


async def test_results_that_steps_need_are_asked_for_until_they_are_given(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, stop = zart.Task("t"), asyncio.Event()
    parts = [f"p{n}" for n in range(6)]
    for name in parts:
        task.step(name=name, retry=ONCE)(lambda _: "x" * 1_000_000)

    @task.step(depends_on=parts, retry=ONCE)
    async def total(ctx: zart.StepContext) -> int:
        return sum(len(ctx.result_of(name)) for name in parts)

    refusing = Refusing(Refusal(grpc.StatusCode.PERMISSION_DENIED), GetStepResults=3)
    async with Between(zart_server.address, refusing) as proxy:
        running = asyncio.create_task(zart.Dispatcher([task], address=proxy.address).run(stop))
        await registered(rig, "t")
        handle = await rig.client.start("t", execution_id="x")
        assert await handle.result(timeout=GIVE_UP) == 6_000_000
        assert proxy.refused["GetStepResults"] == 3
        stop.set()
        await running


async def test_a_dispatcher_ends_where_the_server_says_that_a_definition_cannot_be_right(
    zart_server: ServerUnderTest,
) -> None:
    task = zart.Task("t\n")
    task.step(name="a")(lambda _: None)
    with pytest.raises(zart.errors.InvalidField):
        await zart.Dispatcher([task], address=zart_server.address).run(asyncio.Event())


async def test_a_dispatcher_ends_where_a_definition_is_too_large_to_be_sent(
    zart_server: ServerUnderTest,
) -> None:
    task = zart.Task("t")
    for n in range(17):
        task.step(name=f"s{n}", input="x" * 1_000_000)(lambda _: None)
    running = zart.Dispatcher([task], address=zart_server.address).run(asyncio.Event())
    with pytest.raises(zart.errors.PayloadTooLarge):
        await asyncio.wait_for(running, GIVE_UP)
