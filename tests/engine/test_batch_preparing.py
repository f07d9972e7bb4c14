"""Batches that are ended while their selection is being frozen: by somebody, or since it cannot be."""

from __future__ import annotations

import pytest
from batching import by_hand, check_totals, load_runs, until_batch
from rig import Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

FIRST = 1_000  # executions that are frozen as the batch is created


async def fail_after_the_first(rig: Rig, sqlstate: str) -> None:
    """Have what is to be frozen later fail, in pieces however small."""
    await load_runs(rig, FIRST + 500, "completed")
    await rig.db.execute(
        f"""
        CREATE FUNCTION fail_later() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT max(item_no) FROM new_rows) > {FIRST} THEN
                RAISE EXCEPTION 'no more' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER fail_later AFTER INSERT ON zart.batch_items
            REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION fail_later();
        """
    )


async def test_freezing_can_be_paused_and_cancelled(rig: Rig) -> None:
    await fail_after_the_first(rig, "57014")  # it takes too long, and is tried again
    created = await rig.client.create_batch(zart.Restart(), everything=True)
    batch_id = created.batch_id
    assert created.batch is not None
    assert (created.batch.status, created.batch.counts.selected) == ("PREPARING", FIRST)
    assert (await rig.client.pause_batch(batch_id)).status == "PAUSED"
    assert (await rig.client.resume_batch(batch_id)).status == "PREPARING"
    cancelled = await rig.client.cancel_batch(batch_id)
    assert (cancelled.status, cancelled.batch.error) == ("CANCELLED", "")
    await rig.db.execute("DROP TRIGGER fail_later ON zart.batch_items")
    # A later batch has had its turn: this one has none any more.
    other = await rig.client.create_batch(zart.Restart(), execution_ids=["x-0"])
    await until_batch(rig.client, other.batch_id, "COMPLETED")
    batch = await rig.client.get_batch(batch_id)
    assert (batch.status, batch.counts) == ("CANCELLED", cancelled.batch.counts)
    assert (batch.counts.selected, batch.counts.cancelled) == (FIRST, FIRST)
    await check_totals(rig.db, batch_id)
    with pytest.raises(errors.BatchFinished):
        await rig.client.resume_batch(batch_id)


async def test_what_cannot_be_frozen_ends_cancelled_and_says_why(rig: Rig) -> None:
    await fail_after_the_first(rig, "22012")  # as a defect does
    created = await rig.client.create_batch(zart.Restart(), everything=True)
    batch = await until_batch(rig.client, created.batch_id, "CANCELLED")
    assert batch.error == "a defect: see the servers' logs"
    assert (batch.counts.done, batch.counts.cancelled) == (0, batch.counts.selected)
    await check_totals(rig.db, created.batch_id)
    kinds = [o.kind for o in await rig.client.list_operations(batch_id=created.batch_id)]
    assert kinds == ["CANCEL_BATCH", "CREATE_BATCH"]


async def test_what_failed_before_another_server_froze_it_has_no_item_refused(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await fail_after_the_first(rig, "22012")
    async with by_hand(zart_server) as first, by_hand(zart_server) as second:
        batch_id = (await rig.client.create_batch(zart.Restart(), everything=True)).batch_id
        await second.until_failed(2)
        await rig.db.execute("DROP TRIGGER fail_later ON zart.batch_items")
        while (await rig.client.get_batch(batch_id)).status == "PREPARING":
            await first.turn()
        await second.turn()
    counts = (await rig.client.get_batch(batch_id)).counts
    assert (counts.done, counts.refused) == (1, 0)


async def test_failures_between_which_some_was_frozen_do_not_add_up(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await fail_after_the_first(rig, "22012")
    async with by_hand(zart_server) as hand:
        batch_id = (await rig.client.create_batch(zart.Restart(), everything=True)).batch_id
        await hand.until_failed(1)
        await rig.db.execute("ALTER TABLE zart.batch_items DISABLE TRIGGER fail_later")
        hand.here.executions = 1
        await hand.turn()
        assert hand.here.failed == 0
    assert (await rig.client.get_batch(batch_id)).status == "PREPARING"


async def test_nothing_is_selected_by_a_batch_that_is_still_being_frozen(rig: Rig) -> None:
    """What it gets later would be more than the plan told."""
    await fail_after_the_first(rig, "57014")
    batch_id = (await rig.client.create_batch(zart.Restart(), everything=True)).batch_id
    wanted = zart.ExecutionFilter(batch_id=batch_id)
    for is_plan in (True, False):
        with pytest.raises(errors.InvalidField) as refused:
            await rig.client.create_batch(zart.Restart(), filter=wanted, validate_only=is_plan)
        assert refused.value.metadata["field"] == "selection.filter.batch_id"
        assert "is still being prepared: wait until it is" in refused.value.message
    await rig.client.cancel_batch(batch_id)  # it gets no more
    answer = await rig.client.create_batch(zart.Restart(), filter=wanted, validate_only=True)
    assert answer.plan is not None
    assert answer.plan.executions == FIRST
