"""docs/operating.md, Rolling back: the dispatcher that was started last decides what new starts get."""

from __future__ import annotations

import asyncio

import pytest
from dispatching import dispatching
from rig import Rig, eventually
from terminal import Printed, zart_command

import zart
from zart.testing.server import ServerUnderTest


def order(*steps: str) -> zart.Task:
    """Return a version of a task: its graph is these steps."""
    task = zart.Task("order")
    for step in steps:
        task.step(name=step)(lambda _ctx: None)
    return task


async def test_an_old_dispatcher_that_starts_makes_its_graph_current(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)

    async def zart_(*words: str) -> Printed:
        return await asyncio.to_thread(zart_command, monkeypatch, [*words])

    async def current_is(version: int) -> None:
        async def is_so() -> bool:
            current = await rig.client.list_task_definitions()
            return [each.version for each in current] == [version]

        await eventually(is_so)

    good, bad = order("charge"), order("charge", "break")
    async with dispatching(zart_server, good):
        await current_is(1)
        async with dispatching(zart_server, bad):
            await current_is(2)
            await rig.client.run("order", execution_id="bad")
            async with dispatching(zart_server, good):  # one that restarts
                await current_is(1)
                listed = (await zart_("tasks")).out
                assert "charge" in listed
                assert "break" not in listed
                await rig.client.run("order", execution_id="good")
                await rig.client.rerun("bad", force_rerun=["charge"])
                await rig.client.handle("bad").result()
                await rig.client.restart("bad")
                await rig.client.handle("bad").result()

    versions = {run.run_number: run.definition_version for run in await rig.client.list_runs("bad")}
    assert versions == {0: 2, 1: 2, 2: 1}
    (only,) = await rig.client.list_runs("good")
    assert only.definition_version == 1
    told = (await zart_("audit", "--kind", "register-task", "-o", "json")).out
    assert told.count("OPERATION_KIND_REGISTER_TASK") == 3
