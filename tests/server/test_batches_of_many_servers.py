"""A batch on two servers, whose processes are killed while they work on it: each item once."""

from __future__ import annotations

import signal
from pathlib import Path

import asyncpg
from acceptance.serve_process import serve_processes
from batching import check_totals, dead_steps, fail_all, start_many, until_batch
from rig import Rig
from waiting import eventually

import zart

ITEMS = 3_000
KILLS = 5


async def done_of(db: asyncpg.Connection[asyncpg.Record], batch_id: str) -> int:
    """Return how many items are done or refused."""
    done: int = await db.fetchval(
        "SELECT done + refused FROM zart.batches WHERE batch_id = $1", batch_id
    )
    return done


async def test_each_item_is_done_once_whoever_is_killed(
    rig: Rig, zart_database: str, tmp_path: Path
) -> None:
    await dead_steps(rig.client, ITEMS)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=15)
    await rig.client.pause_batch(created.batch_id)  # the server of the test leaves it to others
    batch_id = created.batch_id
    with serve_processes(2, zart_database, tmp_path) as servers:
        rig_server_stops = zart.connect(servers[1].address)
        await rig_server_stops.resume_batch(batch_id)
        for kill in range(KILLS):
            done = await done_of(rig.db, batch_id)

            async def has_gone_on(before: int = done) -> bool:
                return await done_of(rig.db, batch_id) >= min(before + 20, ITEMS)

            await eventually(has_gone_on)
            await check_totals(rig.db, batch_id)
            server = servers[kill % 2]
            server.stop(signal.SIGKILL)
            server.start()
            server.until_listening()
        await rig_server_stops.close()
        await rig.client.update_batch(batch_id, rate_per_second=None)
        batch = await until_batch(rig.client, batch_id, "COMPLETED")
    assert (batch.counts.done, batch.counts.refused) == (ITEMS, 0)
    await check_totals(rig.db, batch_id)
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
