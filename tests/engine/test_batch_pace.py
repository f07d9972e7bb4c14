"""Batches that go at a pace, stop by themselves, or are stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batching import check_totals, dead_steps, fail_all, start_many, until_batch
from rig import Rig, eventually
from waiting import GIVE_UP

import zart
from zart import errors


async def test_it_goes_at_its_pace(rig: Rig) -> None:
    await dead_steps(rig.client, 200)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=20)
    assert created.batch is not None
    async for batch in rig.client.watch_batch(created.batch_id):
        if batch.counts.done >= 40:
            break
    times = await rig.db.fetch(
        "SELECT extract(epoch FROM done_at - min(done_at) OVER ())::float8 FROM zart.batch_items"
        " WHERE status = 'done' ORDER BY done_at"
    )
    took = times[-1][0]
    # A second's worth may have been saved up where the machine was held up.
    assert len(times) - 1 <= 20 * took + 20
    assert len(times) >= 40


async def test_a_clock_that_went_back_stops_no_batch(rig: Rig) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    await dead_steps(rig.client, 30)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    await until_batch(rig.client, created.batch_id, "RUNNING")
    await rig.db.execute(
        "UPDATE zart.batches SET credit = 0, rate_per_second = 20,"
        " credit_at = statement_timestamp() + interval '10 minutes'"
    )
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert batch.counts.done == 30


async def test_another_pace_holds_from_then_on(rig: Rig) -> None:
    await dead_steps(rig.client, 30)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    await rig.client.update_batch(created.batch_id, rate_per_second=None)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.done, batch.rate_per_second) == (30, None)


async def test_a_canary_pauses_it(rig: Rig) -> None:
    await dead_steps(rig.client, 20)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=3)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert (batch.counts.done, batch.pause_cause) == (3, "CANARY")
    await rig.client.resume_batch(created.batch_id)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.done, batch.canary, batch.pause_cause) == (20, 3, "UNSPECIFIED")
    kinds = [o.kind for o in await rig.client.list_operations(batch_id=created.batch_id)]
    assert [kind for kind in kinds if kind.value.endswith("BATCH")] == [
        "RESUME_BATCH",
        "PAUSE_BATCH",
        "CREATE_BATCH",
    ]
    await check_totals(rig.db, created.batch_id)


async def test_a_canary_of_all_is_the_whole(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=3)
    await until_batch(rig.client, created.batch_id, "COMPLETED")


async def test_refused_items_pause_it(rig: Rig) -> None:
    await dead_steps(rig.client, 10)
    created = await rig.client.create_batch(
        zart.Rerun(preserve=["nobody's"]), everything=True, max_failures=4
    )
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert (batch.counts.refused, batch.pause_cause) == (4, "MAX_FAILURES")
    await rig.client.resume_batch(created.batch_id)  # four more

    async def has_paused_again() -> bool:
        batch = await rig.client.get_batch(created.batch_id)
        return (batch.status, batch.counts.refused) == ("PAUSED", 8)

    await eventually(has_paused_again)
    await rig.client.update_batch(created.batch_id, max_failures=None)
    await rig.client.resume_batch(created.batch_id)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    await check_totals(rig.db, created.batch_id)


async def test_steps_dead_again_pause_it(rig: Rig) -> None:
    # So many that it takes two minutes: it is not to be over before a slow machine has failed five.
    await dead_steps(rig.client, 1200)
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, rate_per_second=10, max_failures=5
    )
    async with asyncio.timeout(GIVE_UP):
        while (await rig.client.get_batch(created.batch_id)).status != "PAUSED":
            await fail_all(rig.client)
    batch = await rig.client.get_batch(created.batch_id)
    assert batch.outcomes is not None
    assert (batch.pause_cause, batch.counts.pending > 0) == ("MAX_FAILURES", True)
    assert batch.outcomes.dead >= 5


async def test_failures_before_it_was_resumed_make_no_room_once_they_are_completed(
    rig: Rig,
) -> None:
    await dead_steps(rig.client, 40)
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, canary=25, max_failures=10
    )
    await until_batch(rig.client, created.batch_id, "PAUSED")
    retried = await rig.lease(lease_duration=3600)
    assert len(retried) == 25
    for task in retried[:10]:
        await rig.fail(task)
    await rig.client.update_batch(created.batch_id, rate_per_second=0.01)
    await rig.client.resume_batch(created.batch_id)  # these ten do not count
    for task in retried[:10]:
        await rig.client.complete_step(task.execution_id, task.step_name, "by hand")

    async def are_seen() -> bool:
        failures: int = await rig.db.fetchval("SELECT failures_before FROM zart.batches")
        return failures == 0

    await eventually(are_seen)
    for task in retried[10:]:
        await rig.fail(task)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert batch.outcomes is not None
    assert (batch.pause_cause, batch.outcomes.completed) == ("MAX_FAILURES", 10)
    assert batch.counts.pending > 0


async def test_steps_that_are_to_be_dead_are_no_failures(rig: Rig) -> None:
    await start_many(rig.client, 20)
    created = await rig.client.create_batch(
        zart.FailStep("never mind"),
        filter=zart.ExecutionFilter(step_statuses=["SCHEDULED"]),
        canary=10,
        max_failures=1,
    )
    await until_batch(rig.client, created.batch_id, "PAUSED")
    await rig.client.resume_batch(created.batch_id)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert batch.outcomes is not None
    assert (batch.counts.done, batch.outcomes.dead) == (20, 20)


async def test_once_paused_nothing_is_done(rig: Rig) -> None:
    await dead_steps(rig.client, 300)
    # It is not to be over by itself on a machine however slow.
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=1)
    paused = await rig.client.pause_batch(created.batch_id)
    assert (paused.status, paused.batch.pause_cause) == ("PAUSED", "OPERATOR")
    await rig.client.update_batch(created.batch_id, rate_per_second=None)
    await rig.start("other", {"a": ()})
    other = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["other"])
    await until_batch(rig.client, other.batch_id, "COMPLETED")  # this one had its turn, too
    again = await rig.client.pause_batch(created.batch_id)
    assert again.batch.counts == paused.batch.counts
    await rig.client.update_batch(created.batch_id, rate_per_second=1)
    await rig.client.resume_batch(created.batch_id)
    await rig.client.resume_batch(created.batch_id)  # is no error
    cancelled = await rig.client.cancel_batch(created.batch_id)
    counts = cancelled.batch.counts
    assert counts.done + counts.cancelled == counts.selected == 300
    assert counts.pending == 0
    await rig.client.cancel_batch(created.batch_id)
    await check_totals(rig.db, created.batch_id)
    items = await rig.client.list_batch_items(created.batch_id, statuses=["CANCELLED"])
    assert len(items) == counts.cancelled
    for refused in (
        rig.client.pause_batch(created.batch_id),
        rig.client.resume_batch(created.batch_id),
        rig.client.update_batch(created.batch_id, rate_per_second=1),
    ):
        with pytest.raises(errors.BatchFinished):
            await refused


async def test_a_completed_one_cannot_be_cancelled(rig: Rig) -> None:
    await dead_steps(rig.client, 1)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    with pytest.raises(errors.BatchFinished):
        await rig.client.cancel_batch(created.batch_id)
    with pytest.raises(errors.BatchNotFound):
        await rig.client.cancel_batch("ba-none")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, {"rate_per_second"}),
        ({"rate_per_second": 0}, {"rate_per_second"}),
        ({"max_failures": 0}, {"max_failures"}),
    ],
)
async def test_an_update_is_told_what_is_wrong_with_it(
    rig: Rig, change: dict[str, Any], wrong: set[str]
) -> None:
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.update_batch("ba-none", **change)
    assert refused.value.fields.keys() == wrong
    assert "also wrong" not in refused.value.message
