"""A batch on two servers, whose processes are killed while they work on it: each item once."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import astuple
from pathlib import Path

from acceptance.serve_process import serve_processes
from batching import check_totals, dead_steps, fail_all, start_many, until_batch
from rig import Rig
from waiting import eventually

import zart
from zart.testing.server import ServerUnderTest

ITEMS = 3_000
KILLS = 10


async def look_at(rig: Rig, batch_id: str) -> int:
    """Return how many items are done, of totals that add up and are those of the items."""
    batch = await rig.client.get_batch(batch_id)
    counts = batch.counts
    assert batch.outcomes is not None
    assert sum(astuple(batch.outcomes)) == counts.done
    assert counts.done + counts.refused + counts.pending + counts.cancelled == counts.selected
    await check_totals(rig.db, batch_id)
    return counts.done


async def test_each_item_is_done_once_whoever_is_killed(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str, tmp_path: Path
) -> None:
    await dead_steps(rig.client, ITEMS)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=15)
    batch_id = created.batch_id
    # The server of the test leaves it to others: each that is killed works on it.
    here = zart_server.running.runtime.batches
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(here.stop(), zart_server.loop))
    with serve_processes(2, zart_database, tmp_path) as servers:
        for kill in range(KILLS):
            done = await look_at(rig, batch_id)

            async def has_gone_on(before: int = done) -> bool:
                return await look_at(rig, batch_id) >= before + 5

            await eventually(has_gone_on)
            server = servers[kill % 2]  # the other one was killed before, and may just begin
            server.until_listening()
            server.stop(signal.SIGKILL)
            server.start()
        await rig.client.update_batch(batch_id, rate_per_second=None)
        batch = await until_batch(rig.client, batch_id, "COMPLETED")
    assert (batch.counts.done, batch.counts.refused) == (ITEMS, 0)
    assert await look_at(rig, batch_id) == ITEMS
    assert await fail_all(rig.client) == ITEMS  # each was queued once


async def test_a_large_selection_is_frozen_in_pieces(rig: Rig) -> None:
    await start_many(rig.client, 2_500)
    created = await rig.client.create_batch(
        zart.CancelExecution(), everything=True, rate_per_second=0.01
    )
    assert created.batch is not None
    assert created.batch.status in ("PREPARING", "RUNNING")
    batch = await until_batch(rig.client, created.batch_id, "RUNNING")
    assert batch.counts.selected == 2_500
    await rig.client.cancel_batch(created.batch_id)
    await check_totals(rig.db, created.batch_id)
