"""What holds where servers are set to keep everything, and something else is set for a task."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from batching import start_many
from retaining import left, make_old, sweep
from rig import Rig

from zart.testing.server import ServerUnderTest


async def test_each_pass_forgets_the_records_of_days_that_are_over(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.set_retention("t", timedelta(days=30))
    await rig.db.execute(
        "INSERT INTO zart.purge_records (day, task_name, caller) SELECT (statement_timestamp()"
        " AT TIME ZONE 'UTC')::date - ago, 't', '' FROM unnest(ARRAY[0, 3]) ago"
    )
    await sweep(zart_server)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.purge_records") == 1


async def test_nothing_is_removed_after_somebody_was_told_that_it_is_kept(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.set_retention("t", timedelta(days=30))
    await start_many(rig.client, 700)  # two pieces
    await rig.db.execute("DELETE FROM zart.queue")
    await end(rig, 1)
    await sweep(zart_server)  # which puts on record what it removed
    await end(rig, 699)
    async with rig.locked("SELECT FROM zart.purge_records FOR UPDATE"):
        under_way = asyncio.create_task(sweep(zart_server))
        await rig.until_waiting()  # to put the first piece on record
        answer = asyncio.create_task(rig.client.set_retention("t", None))
        await rig.until_waiting(2, at_length=True)  # the answer for that piece
    await answer
    there = await left(rig.db)
    await under_way
    await sweep(zart_server)
    assert 0 < len(there) <= 699 - 1  # one piece, the smaller the slower the machine
    assert await left(rig.db) == there


async def end(rig: Rig, count: int) -> None:
    """Have so many executions ended, long ago."""
    await rig.db.execute(
        "UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()"
        " WHERE run_key IN (SELECT run_key FROM zart.runs WHERE completed_at IS NULL LIMIT $1)",
        count,
    )
    await make_old(rig.db, days=100)
