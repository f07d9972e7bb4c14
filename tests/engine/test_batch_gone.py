"""Executions that a purge removes while a batch selects them: their items are refused.

A purge that has begun before does not see the items, and the batch does not see the purge.
"""

from __future__ import annotations

from typing import Any

import pytest
from batching import check_totals, dead_steps, until_batch
from rig import Rig

import zart

# As far as a purge goes before it ends.
PURGE = """
    SET LOCAL zart.purge = 'on';
    DELETE FROM zart.steps WHERE run_key = (SELECT run_key FROM zart.runs WHERE execution_key = (
        SELECT execution_key FROM zart.executions WHERE execution_id = 'x-0'));
    DELETE FROM zart.runs WHERE execution_key = (
        SELECT execution_key FROM zart.executions WHERE execution_id = 'x-0');
    DELETE FROM zart.executions WHERE execution_id = 'x-0';
"""
DEAD = zart.ExecutionFilter(step_statuses=["DEAD"])


async def refusals(rig: Rig, batch_id: str) -> dict[str, str]:
    """Return what items were refused for."""
    items = await rig.client.list_batch_items(batch_id)
    return {item.execution_id: item.refusal.reason for item in items if item.refusal is not None}


@pytest.mark.parametrize(
    "operation",
    [
        zart.RetryStep(),
        zart.Restart(),
        zart.Rerun(),
        zart.CancelExecution(),
        zart.CompleteStep(1),
        zart.FailStep("no"),
    ],
    ids=lambda operation: type(operation).__name__,
)
async def test_what_is_gone_since_is_refused_and_the_batch_ends(rig: Rig, operation: Any) -> None:
    await dead_steps(rig.client, 2)
    async with rig.locked(PURGE):
        created = await rig.client.create_batch(operation, filter=DEAD)
        assert created.batch is not None
        assert created.batch.counts.selected == 2
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (await refusals(rig, created.batch_id))["x-0"] == "EXECUTION_NOT_FOUND"
    await check_totals(rig.db, created.batch_id)


async def test_what_has_its_id_by_now_is_left_alone(rig: Rig) -> None:
    await dead_steps(rig.client, 2)
    async with rig.locked(PURGE):
        created = await rig.client.create_batch(zart.RetryStep(), filter=DEAD)
        await rig.client.pause_batch(created.batch_id)
    await dead_steps(rig.client, 1)  # x-0 anew: it stands as the one before did
    await rig.client.resume_batch(created.batch_id)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert await refusals(rig, created.batch_id) == {"x-0": "EXECUTION_NOT_FOUND"}
    assert await rig.statuses("x-0") == {"a": "DEAD"}
    await check_totals(rig.db, created.batch_id)
