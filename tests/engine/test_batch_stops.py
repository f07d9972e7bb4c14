"""A batch that somebody stopped tells who did, when and why; one that stopped by itself does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batching import dead_steps, until_batch
from rig import Rig

import zart
from zart.models import Batch


async def a_batch(rig: Rig) -> str:
    """Create a batch that does one item, and no other for as long as any test takes."""
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, rate_per_second=0.01, triggered_by="ann", incident="I-1"
    )
    await until_batch(rig.client, created.batch_id, "RUNNING")
    return created.batch_id


def who(batch: Batch) -> tuple[str, str, str]:
    """Return who stopped a batch, why, and for which incident: just now."""
    assert batch.stop is not None
    assert batch.stop.stopped_at is not None
    assert abs(datetime.now(UTC) - batch.stop.stopped_at) < timedelta(minutes=5)
    return batch.stop.stopped_by, batch.stop.reason, batch.stop.incident


async def test_who_paused_it_is_told_by_each_read_until_it_goes_on(rig: Rig) -> None:
    batch_id = await a_batch(rig)
    paused = await rig.client.pause_batch(batch_id, triggered_by="bea", reason="cards are down")
    told = ("bea", "cards are down", "I-1")
    assert who(paused.batch) == told
    await rig.client.update_batch(batch_id, rate_per_second=0.02, triggered_by="cid")
    again = await rig.client.pause_batch(batch_id, triggered_by="ann", reason="so do I")
    assert who(again.batch) == told  # it stayed as it was
    assert who(await rig.client.get_batch(batch_id)) == told
    assert [who(each) for each in await rig.client.list_batches()] == [told]
    async for seen in rig.client.watch_batch(batch_id):
        assert who(seen) == told
        break
    gone_on = await rig.client.resume_batch(batch_id, triggered_by="ann")
    assert gone_on.batch.stop is None
    assert (await rig.client.get_batch(batch_id)).stop is None


async def test_who_cancelled_it_is_told_and_not_who_had_paused_it(rig: Rig) -> None:
    batch_id = await a_batch(rig)
    await rig.client.pause_batch(batch_id, triggered_by="bea")
    ended = await rig.client.cancel_batch(
        batch_id, triggered_by="cid", reason="wrong group", incident="I-2"
    )
    assert who(ended.batch) == ("cid", "wrong group", "I-2")
    assert who(await rig.client.get_batch(batch_id)) == ("cid", "wrong group", "I-2")


async def test_nobody_is_told_of_what_stopped_by_itself(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=1)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert (batch.pause_cause, batch.stop) == ("CANARY", None)
    other = await rig.client.pause_batch(created.batch_id, triggered_by="bea")
    assert (other.batch.pause_cause, other.batch.stop) == ("CANARY", None)


async def test_a_batch_whose_record_is_removed_tells_nobody(rig: Rig) -> None:
    batch_id = await a_batch(rig)
    await rig.client.pause_batch(batch_id, triggered_by="bea")
    async with rig.db.transaction():
        await rig.db.execute("SET LOCAL zart.purge = 'on'")
        await rig.db.execute("DELETE FROM zart.operations WHERE kind = 'pause_batch'")
    batch = await rig.client.get_batch(batch_id)
    assert (batch.status, batch.pause_cause, batch.stop) == ("PAUSED", "OPERATOR", None)


async def test_who_paused_it_is_told_however_often_its_pace_was_changed(rig: Rig) -> None:
    batch_id = await a_batch(rig)
    await rig.client.pause_batch(batch_id, triggered_by="bea", reason="cards are down")
    await rig.client.update_batch(batch_id, rate_per_second=0.02, triggered_by="cid")
    await rig.db.execute(
        "INSERT INTO zart.operations (kind, batch_id, triggered_by, principal, reason, request_id)"
        " SELECT kind, batch_id, triggered_by, principal, reason, request_id"
        " FROM zart.operations, generate_series(1, 1000) WHERE kind = 'update_batch'"
    )
    told = ("bea", "cards are down", "I-1")
    assert who(await rig.client.get_batch(batch_id)) == told
    assert [who(each) for each in await rig.client.list_batches()] == [told]
