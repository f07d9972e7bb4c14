"""A handler that holds up the event loop costs nobody a lease, and the log names it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest
from dispatching import dispatching, start
from rig import Rig, until_polled
from waiting import block_until

import zart
from zart.channel import aio_channel
from zart.testing.server import ServerUnderTest

ONCE = zart.Retry(max_attempts=1)
LEASE = 1.0  # seconds; the shortest there is


async def test_a_step_that_blocks_the_loop_costs_neither_its_lease_nor_those_of_others(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart.dispatcher")
    task = zart.Task("t")
    both = asyncio.Barrier(2)

    @task.step(retry=ONCE)
    async def blocks(ctx: zart.StepContext) -> str:
        await both.wait()
        until = time.monotonic() + 2.5 * LEASE
        while time.monotonic() < until:
            pass
        return "blocked"

    @task.step(retry=ONCE)
    async def behaves(ctx: zart.StepContext) -> str:
        await both.wait()
        return "behaved"

    async with dispatching(zart_server, task, lease=LEASE):
        handle = await start(rig, task)
        assert await handle.result(timeout=20) == {"blocks": "blocked", "behaves": "behaved"}

    told = [r.getMessage() for r in caplog.records if r.name == "zart.dispatcher.standstill"]
    began, ended = told
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

    async def nobody_waits_for_it() -> None:
        until = time.monotonic() + 2.5 * LEASE
        while time.monotonic() < until:
            pass

    @task.step(retry=ONCE)
    async def begins(ctx: zart.StepContext) -> str:
        child = asyncio.create_task(nobody_waits_for_it())
        await child
        return "done"

    async with dispatching(zart_server, task, lease=LEASE):
        assert await (await start(rig, task)).result(timeout=20) == "done"
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
            deadline = time.monotonic() + 4 * LEASE
            while time.monotonic() < deadline:
                pass
        return "done"

    def start_another() -> None:
        blocking.wait()
        with zart.connect_sync(zart_server.address) as client:
            client.start("t", execution_id="late")

    async with dispatching(zart_server, task, lease=LEASE):
        first = await start(rig, task, "blocks")
        await asyncio.to_thread(start_another)
        assert await first.result(timeout=20) == "done"
        assert await rig.client.handle("late").result(timeout=20) == "done"
    (attempt,) = (await rig.client.get_step("late", "a")).attempts
    assert attempt.status == "COMPLETED"


def chain_beside_a_step_that_blocks(address: str, retry: zart.Retry) -> tuple[zart.Task, list[int]]:
    """Return ``a`` and then ``b``, which is leased by the report of ``a`` in a blocked loop.

    Gives the numbers of b's attempts that ran, too.
    """
    task = zart.Task("t")
    a_ended = asyncio.Event()
    ran: list[int] = []

    @task.step(retry=ONCE)
    async def a(ctx: zart.StepContext) -> None:
        a_ended.set()

    @task.step(retry=ONCE)
    async def blocks(ctx: zart.StepContext) -> None:
        await a_ended.wait()
        for _ in range(20):  # in which the report is sent
            await asyncio.sleep(0)
        with zart.connect_sync(address) as client:
            block_until(lambda: client.get_step("x", "b").status == "RUNNING")
            leased_at = time.monotonic()
            block_until(lambda: time.monotonic() > leased_at + 1.2 * LEASE)

    @task.step(depends_on=[a], retry=retry)
    async def b(ctx: zart.StepContext) -> None:
        ran.append(ctx.attempt)

    return task, ran


async def test_what_a_report_leases_while_a_step_blocks_the_loop_loses_no_attempt(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task, ran = chain_beside_a_step_that_blocks(zart_server.address, ONCE)
    async with dispatching(zart_server, task, lease=LEASE):
        handle = await start(rig, task)
        assert (await handle.run(timeout=20)).status == "COMPLETED"
    assert ran == [1]
    (attempt,) = (await rig.client.get_step("x", "b")).attempts
    assert attempt.status == "COMPLETED"


async def test_what_comes_through_a_blocked_loop_is_not_begun_when_its_lease_has_ended(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """As it does where the dispatcher was given its channel."""
    task, ran = chain_beside_a_step_that_blocks(zart_server.address, zart.Retry())
    async with (
        aio_channel(zart_server.address) as channel,
        dispatching(zart_server, task, lease=LEASE, channel=channel),
    ):
        handle = await start(rig, task)
        assert (await handle.run(timeout=20)).status == "COMPLETED"
    assert len(ran) == 1
    assert "1 tasks are not begun" in caplog.text
