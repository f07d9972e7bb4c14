"""Servers go through what has ended, one at a time, and put on record what they removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import pytest
from batching import start_many, until_batch
from retaining import keeping, left, make_old, make_operations_old, sweep
from rig import Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server by which executions are kept for 60 days, and operations for 400."""
    with keeping(zart_database) as server:
        yield server


async def test_what_is_removed_is_one_operation_a_day_and_task(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    for sweeps in (1, 2):
        for task in ("t", "u"):
            await rig.start(f"{task}-{sweeps}", {"a": ()}, task=task)
            await rig.work(task=task)
        await make_old(rig.db, days=100)
        await sweep(zart_server)
        found = await rig.client.list_operations(kind="PURGE")
        assert {
            (o.task_name, o.triggered_by, o.made.removed_executions if o.made else 0) for o in found
        } == {("t", "retention", sweeps), ("u", "retention", sweeps)}
        assert all(o.made and o.made.ended_before and o.created_at for o in found)


async def test_servers_share_the_work(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    """Each is removed once, whoever does it: what is on record adds up."""
    await start_many(rig.client, 2000)
    await rig.db.execute(
        "UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()"
    )
    await rig.db.execute("DELETE FROM zart.queue")
    await make_old(rig.db, days=100)
    with serving(zart_database, retention=timedelta(days=30)) as other:
        await asyncio.gather(sweep(zart_server), sweep(other), sweep(zart_server))
    assert await left(rig.db) == []
    (operation,) = await rig.client.list_operations(kind="PURGE")
    assert operation.made is not None
    assert (operation.made.removed_executions, operation.made.removed_runs) == (2000, 2000)


async def test_operations_and_batches_have_a_time_of_their_own(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await start_many(rig.client, 3)
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("nobody")

    async def refused() -> bool:
        return bool(await rig.client.list_operations(statuses=["REFUSED"]))

    await eventually(refused)
    await sweep(zart_server)  # all of it is young yet, and is looked at again when it is not
    await make_operations_old(rig.db)
    await rig.client.pause(task_name="t")
    await sweep(zart_server)
    kinds = [o.kind.value for o in await rig.client.list_operations()]
    assert [kind for kind in kinds if kind != "DRAIN"] == ["PURGE", "PAUSE"]
    assert len(await left(rig.db)) == 3  # what was done to them is forgotten earlier here
    assert list(await rig.client.list_batches()) == []
    assert await rig.db.fetchval("SELECT count(*) FROM zart.batch_items") == 0
    assert list(await rig.client.list_operations(statuses=["REFUSED"])) == []


async def test_where_nothing_is_set_nothing_is_looked_at(zart_database: str) -> None:
    with serving(zart_database) as server:
        await sweep(server)
        connection = await asyncpg.connect(zart_database)
        try:
            taken = await connection.fetchval("SELECT taken_until::text FROM zart.retention_passes")
        finally:
            await connection.close()
    assert taken == "-infinity"
