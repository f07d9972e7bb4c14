"""What a batch tells of its outcomes: of many items they are counted apart from its totals."""

from __future__ import annotations

from dataclasses import astuple

from batching import load_runs, until_batch
from rig import Rig

import zart

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
    batch = await rig.client.get_batch(created.batch_id)
    assert batch.outcomes is not None
    assert (batch.counts.done, batch.outcomes.completed) == (MANY, MANY)
    assert sum(astuple(batch.outcomes)) == MANY
