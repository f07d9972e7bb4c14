"""Batches of everything have what was there when they were created, whatever becomes of it."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator

import pytest
from batching import ONE, ByHand, by_hand, check_totals, dead_steps, fail_all
from rig import Rig, specs

import zart
from zart.testing.server import ServerUnderTest
from zart_server.engine.background import batches
from zart_server.engine.operations import create_batch


@pytest.fixture
async def hand(
    zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ByHand]:
    """Work on batches turn by turn, with two executions in a piece that is being prepared."""
    monkeypatch.setattr(create_batch, "_FIRST", 2)
    monkeypatch.setattr(batches, "_PREPARED", 2)
    monkeypatch.setattr(batches, "_Here", functools.partial(batches._Here, executions=2))
    async with by_hand(zart_server) as hand:
        yield hand


async def until_selected(rig: Rig, hand: ByHand, batch_id: str, count: int) -> None:
    """Take turns until a batch has so many items, or all."""
    while (batch := await rig.client.get_batch(batch_id)).status == "PREPARING":
        if batch.counts.selected >= count:
            return
        await hand.turn()


async def selected(rig: Rig, hand: ByHand, batch_id: str) -> list[tuple[str, str]]:
    """Take turns until a batch is over, and return its items."""
    while (await rig.client.get_batch(batch_id)).status not in ("COMPLETED", "CANCELLED"):
        await hand.turn()
    await check_totals(rig.db, batch_id)
    items = await rig.client.list_batch_items(batch_id)
    return [(item.execution_id, item.step_name) for item in items]


async def test_what_was_failed_and_goes_on_meanwhile_is_selected(rig: Rig, hand: ByHand) -> None:
    await rig.client.register_task("t", specs(ONE))
    for name in ("running", "done"):
        await rig.client.start("t", {}, execution_id=name)
    leased = {task.execution_id: task for task in await rig.lease(lease_duration=3600)}
    await rig.complete(leased["done"])
    for name in ("other", "failed"):
        await rig.client.start("t", {}, execution_id=name)
    await fail_all(rig.client)
    await rig.client.start("t", {}, execution_id="scheduled")
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    await until_selected(rig, hand, created.batch_id, 3)
    for name in ("other", "failed"):
        await rig.client.retry_step(name, "a")
    found = await selected(rig, hand, created.batch_id)
    names = ["running", "done", "other", "failed", "scheduled"]
    assert found == [(name, "") for name in names]  # as they are listed, oldest first
    assert (await rig.client.get_execution("failed")).run.status == "CANCELLED"


async def test_a_step_is_selected_though_another_one_of_its_run_was_retried_meanwhile(
    rig: Rig, hand: ByHand
) -> None:
    graph = {"a": (), "b": ()}
    for name in ("r-0", "r-1", "r-2"):
        await rig.start(name, graph)
        await rig.lease_one("b", name, lease_duration=3600)
        await rig.fail(await rig.lease_one("a", name))
    await rig.start("x", graph)
    await rig.work(fail=["a", "b"])
    created = await rig.client.create_batch(zart.RetryStep(), everything=True)
    await until_selected(rig, hand, created.batch_id, 3)
    await rig.client.retry_step("x", "a")
    found = await selected(rig, hand, created.batch_id)
    assert ("x", "b") in found
    assert {name for name, _ in found} == {"r-0", "r-1", "r-2", "x"}
    assert await rig.statuses("x") == {"a": "SCHEDULED", "b": "SCHEDULED"}


async def test_what_a_former_server_began_is_gone_on_with_and_then_gone_through_again(
    rig: Rig, hand: ByHand
) -> None:
    """It went by status, and left out what goes back from one to another."""
    await dead_steps(rig.client, 5)
    await rig.start("scheduled", ONE)
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    former = "SELECT prepared_until FROM zart.batches"
    which, after, key = json.loads(await rig.db.fetchval(former))
    assert (int(which), type(which), type(after), type(key)) == (0, str, str, int)
    # It has come to those that are FAILED. One that was has gone on since.
    await rig.db.execute("""UPDATE zart.batches SET prepared_until = '[3, "-infinity", 0]'""")
    await rig.client.retry_step("x-4", "a")
    found = await selected(rig, hand, created.batch_id)
    assert sorted(name for name, _ in found) == ["scheduled", "x-0", "x-1", "x-2", "x-3", "x-4"]
