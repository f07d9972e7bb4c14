"""A batch that accepts doubts does nothing again that is found to have happened after it was meant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batching import check_totals, until_batch
from doubts import in_doubt
from rig import Rig

import zart

DEAD = zart.ExecutionFilter(step_statuses=["DEAD"])


@pytest.mark.parametrize(
    "operation",
    [
        zart.RetryStep(accept_in_doubt=True),
        zart.Restart(accept_in_doubt=True),
        zart.Rerun(accept_in_doubt=True),
    ],
    ids=lambda operation: type(operation).__name__,
)
async def test_what_was_found_to_have_happened_since_is_not_done_again(
    rig: Rig, operation: Any
) -> None:
    for name in ("x", "y"):
        await in_doubt(rig, name)
    plan = await rig.client.create_batch(operation, filter=DEAD, validate_only=True)
    happened = zart.InDoubtFinding.HAPPENED
    await rig.client.resolve_in_doubt("x", "a", happened, run_number=0, attempt=1)

    async def refusals(token: str) -> dict[str, str]:
        created = await rig.client.create_batch(operation, filter=DEAD, plan_token=token)
        await until_batch(rig.client, created.batch_id, "COMPLETED")
        await check_totals(rig.db, created.batch_id)
        items = await rig.client.list_batch_items(created.batch_id)
        return {i.execution_id: "" if i.refusal is None else i.refusal.reason for i in items}

    assert await refusals(plan.plan_token) == {"x": "STEP_IN_DOUBT", "y": ""}
    # Whoever accepts it now knows what was found.
    assert (await refusals(""))["x"] == ""


async def test_nor_is_what_was_about_to_be_found_out_at_the_plan(rig: Rig) -> None:
    """It waited for the attempt, which somebody had locked: so it began before the plan."""
    for name in ("x", "y"):
        await in_doubt(rig, name)
    operation = zart.RetryStep(accept_in_doubt=True)
    happened = zart.InDoubtFinding.HAPPENED
    async with rig.locked("SELECT FROM zart.in_doubt FOR UPDATE"):
        finding = asyncio.create_task(
            rig.client.resolve_in_doubt("x", "a", happened, run_number=0, attempt=1)
        )
        await rig.until_waiting(at_length=True)
        plan = await rig.client.create_batch(operation, filter=DEAD, validate_only=True)
    await finding
    created = await rig.client.create_batch(operation, filter=DEAD, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    refused = {i.execution_id: i.refusal and i.refusal.reason for i in items}
    assert refused == {"x": "STEP_IN_DOUBT", "y": None}
