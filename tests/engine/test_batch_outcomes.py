"""What a batch tells of its outcomes: of many items they are counted apart from its totals."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from batching import dead_steps, load_runs, until_batch
from rig import CHAIN, Rig, eventually

import zart
from zart.models import BatchOutcomes

MANY = 10_001  # one more than are counted at each look


async def test_of_many_items_they_add_up_once_it_is_over(rig: Rig) -> None:
    await load_runs(rig, MANY, "completed")
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True, canary=1)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert (batch.counts.selected, batch.counts.refused) == (MANY, 1)
    # As if they had been cancelled and then gone on, which would take a while.
    await rig.db.execute(
        "UPDATE zart.batch_items SET status = 'done', refusal = NULL, done_at = now()"
    )
    await rig.db.execute(
        "UPDATE zart.batches SET done = selected, refused = 0, status = 'completed',"
        " pause_cause = '', completed_at = now()"
    )
    for batch in (
        await rig.client.get_batch(created.batch_id),
        [batch async for batch in rig.client.watch_batch(created.batch_id)][-1],
    ):
        assert batch.outcomes is not None
        assert (batch.counts.done, batch.outcomes.completed) == (MANY, MANY)
        assert sum(astuple(batch.outcomes)) == MANY


async def test_a_watch_of_many_items_adds_up_in_the_end(rig: Rig) -> None:
    """What is counted for it, apart from its reads, is told last as it is then."""
    await load_runs(rig, MANY, "completed")
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True, canary=1)
    await until_batch(rig.client, created.batch_id, "PAUSED")
    await rig.db.execute(
        "UPDATE zart.batch_items SET status = 'done', refusal = NULL, done_at = now()"
    )
    await rig.db.execute("UPDATE zart.batches SET done = selected - 1, refused = 1")
    told = []
    async for batch in rig.client.watch_batch(created.batch_id, until="drained"):
        told.append(batch)
        if len(told) == 1:
            await rig.db.execute(
                "UPDATE zart.batches SET done = selected, refused = 0, status = 'completed',"
                " pause_cause = '', completed_at = now()"
            )
    assert [batch.status for batch in told] == ["PAUSED", "COMPLETED"]
    assert told[-1].outcomes is not None
    assert sum(astuple(told[-1].outcomes)) == told[-1].counts.done == MANY


async def outcomes(rig: Rig, batch_id: str) -> BatchOutcomes:
    """Return what is told of the outcomes of a batch now."""
    found = (await rig.client.get_batch(batch_id)).outcomes
    assert found is not None
    return found


@pytest.mark.parametrize("operation", [zart.Restart(), zart.Rerun()], ids=["restart", "rerun"])
async def test_what_a_rule_withholds_is_paused_at_once_and_no_longer(
    rig: Rig, operation: zart.Restart | zart.Rerun
) -> None:
    """Also of runs, while what is queued and held has not been moved yet."""
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(operation, everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (await outcomes(rig, created.batch_id)).scheduled == 3
    async with rig.locked("SELECT FROM zart.queue FOR UPDATE"):
        rule = await rig.client.pause(task_name="t")
        assert (await outcomes(rig, created.batch_id)).paused == 3
        await rig.client.update_pause_rule(rule.rule_id, exempt=["x-1"])
        now = await outcomes(rig, created.batch_id)
        assert (now.paused, now.scheduled) == (2, 1)

    async def are_held() -> bool:
        found: int = await rig.db.fetchval("SELECT count(*) FROM zart.held")
        return found == 2

    await eventually(are_held)
    now = await outcomes(rig, created.batch_id)
    assert (now.paused, now.scheduled) == (2, 1)
    async with rig.locked("SELECT FROM zart.held FOR UPDATE"):
        await rig.client.resume(rule_id=rule.rule_id)
        assert await rig.db.fetchval("SELECT count(*) FROM zart.held") == 2
        assert (await outcomes(rig, created.batch_id)).scheduled == 3


async def test_a_run_is_paused_where_one_of_its_ready_steps_is(rig: Rig) -> None:
    await rig.client.pause(step_pattern="b")
    await rig.start("x", {"a": (), "b": (), "c": ()})
    await rig.start("y", CHAIN)
    await rig.client.cancel_execution("x")
    await rig.client.cancel_execution("y")
    created = await rig.client.create_batch(zart.Restart(), execution_ids=["x", "y"])
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    now = await outcomes(rig, created.batch_id)
    assert (now.paused, now.scheduled) == (1, 1)
