"""Batches of what a filter matches: executions, or steps that meet its conditions."""

from __future__ import annotations

import pytest
from batching import check_totals, dead_steps, until_batch
from rig import Rig

import zart
from zart import errors


async def two_dead(rig: Rig, execution_id: str) -> None:
    """Start an execution of which two steps die."""
    await rig.start(execution_id, {"charge": (), "mail": ()})
    await rig.work(fail=["charge", "mail"])


async def test_only_the_steps_that_match_are_items(rig: Rig) -> None:
    for n in range(3):
        await two_dead(rig, f"x-{n}")
    wanted = zart.ExecutionFilter(task_name="t", step_pattern="char*")
    created = await rig.client.create_batch(zart.RetryStep(), filter=wanted)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.counts.done) == (3, 3)
    assert batch.selection is not None
    assert batch.selection.filter == {"task_name": "t", "step_pattern": "char*"}
    assert await rig.statuses("x-0") == {"charge": "SCHEDULED", "mail": "DEAD"}
    await check_totals(rig.db, created.batch_id)


async def test_without_a_condition_on_steps_the_dead_ones_are_retried(rig: Rig) -> None:
    await two_dead(rig, "x-0")
    await two_dead(rig, "y-0")
    wanted = zart.ExecutionFilter(execution_id_prefix="x-")
    created = await rig.client.create_batch(zart.RetryStep(), filter=wanted)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert batch.counts.done == 2
    assert await rig.statuses("y-0") == {"charge": "DEAD", "mail": "DEAD"}


async def test_an_execution_is_one_item_however_many_steps_match(rig: Rig) -> None:
    await two_dead(rig, "x-0")
    wanted = zart.ExecutionFilter(step_statuses=["DEAD"])
    created = await rig.client.create_batch(zart.Restart(), filter=wanted)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.counts.done) == (1, 1)


async def test_steps_are_completed_and_failed_by_hand(rig: Rig) -> None:
    await two_dead(rig, "x-0")
    await rig.start("y-0", {"charge": (), "mail": ()})
    dead = zart.ExecutionFilter(task_name="t", step_pattern="charge")
    done = await rig.client.create_batch(zart.CompleteStep({"paid": 1}), filter=dead)
    await until_batch(rig.client, done.batch_id, "COMPLETED")
    assert await rig.statuses("x-0") == {"charge": "COMPLETED", "mail": "DEAD"}
    assert (await rig.client.get_step("x-0", "charge")).result == {"paid": 1}
    queued = zart.ExecutionFilter(task_name="t", step_statuses=["SCHEDULED"])
    failed = await rig.client.create_batch(zart.FailStep("never mind"), filter=queued)
    batch = await until_batch(rig.client, failed.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.counts.done) == (2, 2)
    assert batch.outcomes is not None
    assert batch.outcomes.dead == 2
    for batch_id in (done.batch_id, failed.batch_id):
        await check_totals(rig.db, batch_id)


async def test_what_is_ended_by_hand_has_to_be_named(rig: Rig) -> None:
    await dead_steps(rig.client, 1)
    for wanted in (zart.ExecutionFilter(task_name="t"), zart.ExecutionFilter()):
        with pytest.raises(errors.InvalidField):
            await rig.client.create_batch(zart.CompleteStep(skip=True), filter=wanted)
    with pytest.raises(errors.InvalidField):
        await rig.client.create_batch(zart.FailStep("no"), everything=True)
    with pytest.raises(TypeError):
        await rig.client.create_batch(zart.Restart())
