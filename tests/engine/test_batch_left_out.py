"""What somebody names is never left out of a batch of steps without a word."""

from __future__ import annotations

import pytest
from batching import ONE, by_hand, check_totals, dead_steps, fail_all, until_batch
from rig import Rig

import zart
from zart import errors
from zart.models import BatchItem
from zart.testing.server import ServerUnderTest

NAMES = ["x-0", "x-1", "x-2", "x-3", "whole"]


async def made(rig: Rig, plan_token: str) -> dict[str, BatchItem]:
    """Create the batch of a plan, and return its items once it is over."""
    created = await rig.client.create_batch(
        zart.RetryStep(), execution_ids=NAMES, plan_token=plan_token
    )
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    await check_totals(rig.db, created.batch_id)
    items = await rig.client.list_batch_items(created.batch_id)
    assert batch.counts.selected == len(items)
    return {item.execution_id: item for item in items}


def refusals(items: dict[str, BatchItem]) -> dict[str, str]:
    """Return what items were refused for; empty: they were done."""
    return {name: item.refusal.reason if item.refusal else "" for name, item in items.items()}


async def test_a_named_execution_of_which_no_step_is_dead_is_refused(rig: Rig) -> None:
    await rig.start("whole", ONE)
    await rig.work()
    await dead_steps(rig.client, 4)
    answer = await rig.client.create_batch(
        zart.RetryStep(), execution_ids=[*NAMES, "nobody"], validate_only=True
    )
    assert answer.plan is not None
    assert (answer.plan.executions, answer.plan.items) == (4, 6)
    assert {k.refused_for: (k.items, k.sample_execution_ids) for k in answer.plan.kinds} == {
        "": (4, ("x-0", "x-1", "x-2", "x-3")),
        "STEP_NOT_DEAD": (1, ("whole",)),
        "EXECUTION_NOT_FOUND": (1, ("nobody",)),
    }
    answer = await rig.client.create_batch(
        zart.RetryStep(), execution_ids=NAMES, validate_only=True
    )
    await rig.client.retry_step("x-0", "a")
    await fail_all(rig.client)  # dead again
    await rig.client.complete_step("x-1", "a", 1)
    await rig.client.retry_step("x-2", "a")
    items = await made(rig, answer.plan_token)
    assert refusals(items) == {
        "x-0": "STEP_CHANGED",
        "x-1": "STEP_NOT_DEAD",
        "x-2": "STEP_NOT_DEAD",
        "x-3": "",
        "whole": "STEP_NOT_DEAD",
    }
    x_0, x_1 = items["x-0"], items["x-1"]
    assert x_0.refusal is not None
    assert x_0.refusal.message == (
        "a step of run 'x-0:run:0' died after the batch was planned or created"
    )
    assert x_1.refusal is not None
    assert x_1.refusal.message == "no step of run 'x-1:run:0' is DEAD: it is COMPLETED"
    assert (x_1.step_name, x_1.run_number, x_1.run_status) == ("", 0, "COMPLETED")
    assert (x_1.status, x_1.step_status) == ("REFUSED", "UNSPECIFIED")
    refused = await rig.client.list_operations(execution_id="x-1", statuses=["REFUSED"])
    assert [(o.operation_id, o.kind) for o in refused] == [(x_1.operation_id, "RETRY_STEP")]


async def test_it_is_told_that_such_a_one_was_started_anew(rig: Rig) -> None:
    await rig.start("whole", ONE)
    await rig.work()
    await dead_steps(rig.client, 4)
    answer = await rig.client.create_batch(
        zart.RetryStep(), execution_ids=NAMES, validate_only=True
    )
    await rig.client.restart("whole")
    items = await made(rig, answer.plan_token)
    assert refusals(items) == {**dict.fromkeys(NAMES[:4], ""), "whole": "RUN_CHANGED"}


async def test_of_such_ones_alone_there_is_no_batch(rig: Rig) -> None:
    await rig.start("whole", ONE)
    await rig.work()
    for is_plan in (True, False):
        with pytest.raises(errors.NothingSelected):
            await rig.client.create_batch(
                zart.RetryStep(), execution_ids=["whole", "nobody"], validate_only=is_plan
            )
    assert await rig.client.list_batches() == []


async def test_they_are_no_failures_that_a_batch_bears_nor_selected_by_it(rig: Rig) -> None:
    """A list of which colleagues have mended a part is done as far as it is left."""
    await dead_steps(rig.client, 4)
    for name in NAMES[:3]:
        await rig.client.complete_step(name, "a", 1)
    created = await rig.client.create_batch(
        zart.RetryStep(), execution_ids=NAMES[:4], max_failures=1
    )
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.refused, batch.counts.done) == (3, 1)
    listed = await rig.client.list_executions(zart.ExecutionFilter(batch_id=created.batch_id))
    assert [execution.execution_id for execution in listed] == ["x-3"]


async def test_what_is_refused_at_its_turn_counts_all_the_same(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 4)
    await rig.client.complete_step("x-0", "a", 1)
    async with by_hand(zart_server) as hand:
        created = await rig.client.create_batch(
            zart.RetryStep(), execution_ids=NAMES[:4], max_failures=1
        )
        await rig.client.complete_step("x-1", "a", 1)
        while (batch := await rig.client.get_batch(created.batch_id)).status == "RUNNING":
            await hand.turn()
    assert (batch.status, batch.pause_cause) == ("PAUSED", "MAX_FAILURES")
    assert batch.counts.refused == 2
