"""A handler that holds up the event loop costs nobody a lease, and the log names it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from dispatching import dispatching, start
from rig import Rig, until_polled
from waiting import GIVE_UP, block_until

import zart
from zart.channel import aio_channel
from zart.testing.server import ServerUnderTest

ONCE = zart.Retry(max_attempts=1)
SHORT = 3.0  # seconds of a lease that is to end; what is to be extended has more
LEASE = 9.0  # seconds; extended after a third of it, and a busy machine may stand still for six
STANDSTILL = "zart.dispatcher.standstill"


def extension_of(
    client: zart.SyncClient, step_name: str, execution_id: str = "x"
) -> Callable[[], bool]:
    """Return what tells whether a step's lease lasts longer than when it was seen first."""
    seen: list[datetime] = []

    def is_extended() -> bool:
        with contextlib.suppress(zart.errors.ExecutionNotFound):  # it is about to be started
            found = client.get_step(execution_id, step_name).lease_expires_at
            seen.extend([found] if found else [])
        return bool(seen) and seen[-1] > seen[0]

    return is_extended


def is_running(client: zart.SyncClient, execution_id: str, step_name: str) -> bool:
    """Return whether a step of an execution that may not be started yet is leased."""
    with contextlib.suppress(zart.errors.ExecutionNotFound):
        return client.get_step(execution_id, step_name).status == "RUNNING"
    return False


async def test_a_step_that_blocks_the_loop_costs_neither_its_lease_nor_those_of_others(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart.dispatcher")
    task = zart.Task("t")
    both = asyncio.Barrier(2)

    @task.step(retry=ONCE)
    async def blocks(ctx: zart.StepContext) -> str:
        await both.wait()
        with zart.connect_sync(zart_server.address) as client:
            is_extended = extension_of(client, "blocks")
            block_until(lambda: is_extended() and any(r.name == STANDSTILL for r in caplog.records))
        return "blocked"

    @task.step(retry=ONCE)
    async def behaves(ctx: zart.StepContext) -> str:
        await both.wait()
        return "behaved"

    async with dispatching(zart_server, task, lease=LEASE):
        handle = await start(rig, task)
        assert await handle.result(timeout=GIVE_UP) == {"blocks": "blocked", "behaves": "behaved"}

    told = [r.getMessage() for r in caplog.records if r.name == STANDSTILL]
    began, ended = [line for line in told if "x:run:0/blocks" in line]
    assert "held up by step x:run:0/blocks (test_standstill.py:" in began
    assert " in blocks)" in began
    assert ended.startswith("the event loop goes on; step x:run:0/blocks")
    seconds = float(ended.split()[-2])
    assert seconds > 1


async def test_what_a_step_has_begun_and_left_alone_is_told_by_its_place(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart.dispatcher")
    task = zart.Task("t")

    records = caplog.records

    async def nobody_waits_for_it() -> None:
        until, is_told = time.monotonic() + GIVE_UP, False
        while not is_told and time.monotonic() < until:
            for record in records[:]:  # nothing is called here: it is to be found in this line
                is_told |= record.name == STANDSTILL

    @task.step(retry=ONCE)
    async def begins(ctx: zart.StepContext) -> str:
        child = asyncio.create_task(nobody_waits_for_it())
        await child
        return "done"

    async with dispatching(zart_server, task, lease=LEASE):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == "done"
    assert any("in nobody_waits_for_it)" in record.getMessage() for record in caplog.records)


async def test_what_is_leased_while_a_step_blocks_the_loop_loses_no_attempt(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """The poll was sent before; its answer comes while nobody in the loop can look at it."""
    task = zart.Task("t")
    blocking = threading.Event()

    @task.step(retry=ONCE)
    async def a(ctx: zart.StepContext) -> str:
        if ctx.payload == "blocks":
            await until_polled(zart_server)
            blocking.set()
            with zart.connect_sync(zart_server.address) as client:
                block_until(extension_of(client, "a", "late"))
        return "done"

    def start_another() -> None:
        assert blocking.wait(GIVE_UP)
        with zart.connect_sync(zart_server.address) as client:
            client.start("t", execution_id="late")

    async with dispatching(zart_server, task, lease=LEASE):
        first = await start(rig, task, "blocks")
        await asyncio.to_thread(start_another)
        assert await first.result(timeout=GIVE_UP) == "done"
        assert await rig.client.handle("late").result(timeout=GIVE_UP) == "done"
    (attempt,) = (await rig.client.get_step("late", "a")).attempts
    assert attempt.status == "COMPLETED"


def block_for_longer_than_a_lease() -> None:
    """Block the loop until what is leased now is over."""
    over = time.monotonic() + 1.2 * SHORT
    block_until(lambda: time.monotonic() > over)


def chain_beside_a_step_that_blocks(
    address: str, retry: zart.Retry, until: Callable[[zart.SyncClient], None]
) -> tuple[zart.Task, list[int]]:
    """Return ``a`` and then ``b``, which is leased by the report of ``a`` in a blocked loop.

    It is blocked until ``until`` returns, which is called when b is leased. Gives the numbers of
    b's attempts that ran, too.
    """
    task = zart.Task("t")
    a_ended = asyncio.Event()
    ran: list[int] = []

    @task.step(retry=ONCE)
    async def a(ctx: zart.StepContext) -> None:
        a_ended.set()

    @task.step(retry=retry)
    async def blocks(ctx: zart.StepContext) -> None:
        if ctx.attempt > 1:
            return
        await a_ended.wait()
        for _ in range(20):  # in which the report is sent
            await asyncio.sleep(0)
        with zart.connect_sync(address) as client:
            block_until(lambda: is_running(client, "x", "b"))
            until(client)

    @task.step(depends_on=[a], retry=retry)
    async def b(ctx: zart.StepContext) -> None:
        ran.append(ctx.attempt)

    return task, ran


async def test_what_a_report_leases_while_a_step_blocks_the_loop_loses_no_attempt(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    def until(client: zart.SyncClient) -> None:
        block_until(extension_of(client, "b"))

    task, ran = chain_beside_a_step_that_blocks(zart_server.address, ONCE, until)
    async with dispatching(zart_server, task, lease=LEASE):
        handle = await start(rig, task)
        assert (await handle.run(timeout=GIVE_UP)).status == "COMPLETED"
    assert ran == [1]
    (attempt,) = (await rig.client.get_step("x", "b")).attempts
    assert attempt.status == "COMPLETED"


async def test_what_comes_through_a_blocked_loop_is_not_begun_when_its_lease_has_ended(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """As it does where the dispatcher was given its channel."""

    def until(_client: zart.SyncClient) -> None:
        block_for_longer_than_a_lease()

    task, ran = chain_beside_a_step_that_blocks(zart_server.address, zart.Retry(), until)
    async with (
        aio_channel(zart_server.address) as channel,
        dispatching(zart_server, task, lease=SHORT, channel=channel),
    ):
        handle = await start(rig, task)
        assert (await handle.run(timeout=GIVE_UP)).status == "COMPLETED"
    assert len(ran) == 1
    assert "1 tasks are not begun" in caplog.text


async def test_what_a_poll_brings_through_a_blocked_loop_is_not_begun_when_its_lease_has_ended(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """The poll has waited for so long that nobody can tell by it when its task was leased."""
    task = zart.Task("t")
    blocking = threading.Event()
    ran: list[int] = []

    @task.step()
    async def a(ctx: zart.StepContext) -> None:
        if ctx.payload != "blocks":
            ran.append(ctx.attempt)
        elif ctx.attempt == 1:
            await until_polled(zart_server)
            blocking.set()
            with zart.connect_sync(zart_server.address) as client:
                block_until(lambda: is_running(client, "late", "a"))
                block_for_longer_than_a_lease()

    def start_another() -> None:
        assert blocking.wait(GIVE_UP)
        with zart.connect_sync(zart_server.address) as client:
            client.start("t", execution_id="late")

    async with (
        aio_channel(zart_server.address) as channel,
        dispatching(zart_server, task, lease=SHORT, channel=channel),
    ):
        await start(rig, task, "blocks")
        await asyncio.to_thread(start_another)
        late = await rig.client.handle("late").run(timeout=GIVE_UP)
    assert late.status == "COMPLETED"
    assert len(ran) == 1
    assert "1 tasks are not begun" in caplog.text
