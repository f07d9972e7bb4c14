"""When a batch is expected to end: as it goes now, not as it went before a pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from batching import by_hand, dead_steps
from rig import Rig

import zart
from zart.testing.server import ServerUnderTest


async def expected_in(rig: Rig, batch_id: str) -> timedelta | None:
    """Return in how long a batch is expected to end; None: nobody can tell."""
    at = (await rig.client.get_batch(batch_id)).expected_end_at
    return None if at is None else at - datetime.now(UTC)


async def pretend_it_began_long_ago(rig: Rig) -> None:
    """Have what was done until now have taken two hours."""
    await rig.db.execute(
        "UPDATE zart.batches SET started_at = started_at - interval '2 hours',"
        " going_since = going_since - interval '2 hours'"
    )


SOON = timedelta(minutes=10)  # it takes seconds; by what came before it would take hours


async def test_it_is_told_by_what_was_done_since_it_goes_as_it_does(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 2_000)
    async with by_hand(zart_server) as hand:
        created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=50)
        batch_id = created.batch_id
        while (await rig.client.get_batch(batch_id)).status != "PAUSED":
            await hand.turn()
        await pretend_it_began_long_ago(rig)
        # After a canary.
        assert (await rig.client.resume_batch(batch_id)).batch.expected_end_at is None
        await hand.turn()
        assert await expected_in(rig, batch_id) is None  # that is where it begins
        await hand.turn()
        found = await expected_in(rig, batch_id)
        assert found is not None
        assert found < SOON
        # After another pace.
        await pretend_it_began_long_ago(rig)
        paced = (await rig.client.update_batch(batch_id, rate_per_second=0.01)).batch
        assert paced.expected_end_at is not None
        left = timedelta(seconds=paced.counts.pending / 0.01)
        assert abs(paced.expected_end_at - datetime.now(UTC) - left) < SOON
        await rig.client.update_batch(batch_id, rate_per_second=None)
        assert await expected_in(rig, batch_id) is None
        await hand.turn()
        await hand.turn()
        found = await expected_in(rig, batch_id)
        assert found is not None
        assert found < SOON
        # What is no other pace changes nothing.
        for failures in (7, None):
            await rig.client.update_batch(batch_id, max_failures=failures)
        assert await expected_in(rig, batch_id) is not None
        # After a pause.
        await rig.client.pause_batch(batch_id)
        await pretend_it_began_long_ago(rig)
        assert (await rig.client.resume_batch(batch_id)).batch.expected_end_at is None
        await hand.turn()
        assert await expected_in(rig, batch_id) is None
        await hand.turn()
        found = await expected_in(rig, batch_id)
    assert found is not None
    assert found < SOON
