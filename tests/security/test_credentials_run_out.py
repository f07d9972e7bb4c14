"""A dispatcher whose credentials run out keeps what it has done until they are renewed."""

from __future__ import annotations

import asyncio
import logging

import pytest
from issuing import Connect, TokenFile
from rig import eventually
from waiting import GIVE_UP

import zart
from zart.json_log import EventRecord
from zart.testing.server import ServerUnderTest


async def test_outcomes_wait_until_credentials_hold_again(
    connect: Connect,
    guarded: ServerUnderTest,
    tokens: TokenFile,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    begun, end, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    task = zart.Task("t")

    @task.step()
    async def a(ctx: zart.StepContext) -> int:
        begun.set()
        await end.wait()
        return 42

    async def refusals() -> int:
        return sum(
            isinstance(record, EventRecord)
            and record.msg == "refused"
            and str(record.fields["method"]).endswith("/ReportTasks")
            for record in caplog.records
        )

    async def refused_often() -> bool:
        return await refusals() > 5  # more often than what a repeat may cure is tried

    credentials = zart.Credentials(token="zart_token-of-dispatcher")
    dispatcher = zart.Dispatcher(
        [task], address=guarded.address, credentials=credentials, lease=600
    )
    running = asyncio.create_task(dispatcher.run(stop))
    try:
        await eventually(lambda: _registered(connect("viewer")))
        await connect("starter").start("t", execution_id="x")
        await begun.wait()
        tokens.remove("dispatcher")
        await eventually(lambda: _is_refused(connect("dispatcher")))
        end.set()
        await eventually(refused_often)
        tokens.add("dispatcher", "dispatcher")

        run = await connect("viewer").handle("x").run(timeout=GIVE_UP)
    finally:
        stop.set()
        await running
    assert run.status.value == "COMPLETED"
    [attempt] = (await connect("viewer").get_execution("x")).step("a").attempts
    assert attempt.principal == "dispatcher"


async def _registered(viewer: zart.Client) -> bool:
    return bool(await viewer.list_task_definitions())


async def _is_refused(client: zart.Client) -> bool:
    try:
        await client.lease_tasks("d", ["nothing"])
    except zart.errors.InvalidCredentials:
        return True
    return False
