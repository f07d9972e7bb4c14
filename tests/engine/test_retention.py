"""Servers go through what has ended, one at a time, and put on record what they removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from batching import batch_of, load_runs, start_many, until_batch
from retaining import keeping, left, make_old, make_operations_old, sweep
from rig import Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart_server.store.retention.operations import remove_batches
from zart_server.store.retention.removing import ALLOW_PURGE


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


async def test_the_order_of_keys_is_that_of_time_though_a_record_of_the_day_is_removed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """As where operations are kept for less than a day: lists by time go by the order of keys."""
    in_order = "SELECT array_agg(operation_key ORDER BY {}) FROM zart.operations"
    for name in ("a", "b", "c"):
        await make_operations_old(rig.db)  # those of the round before, with what it removed
        await start_many(rig.client, 1, name)
        await sweep(zart_server)
        keys = await rig.db.fetchval(in_order.format("operation_key"))
        assert await rig.db.fetchval(in_order.format("created_at")) == keys
        kinds = [o.kind.value for o in await rig.client.list_operations()]
        assert kinds == (["START", "REGISTER_TASK"] if name == "a" else ["PURGE", "START"])
    assert await rig.db.fetchval("SELECT count(*) FROM zart.purge_records") == 1


async def test_where_nothing_is_set_nothing_is_looked_at(zart_database: str) -> None:
    with serving(zart_database) as server:
        await sweep(server)
        connection = await asyncpg.connect(zart_database)
        try:
            taken = await connection.fetchval("SELECT taken_until::text FROM zart.retention_passes")
        finally:
            await connection.close()
    assert taken == "-infinity"


# As one that was paused while it was being prepared.
_UNPREPARED = """
    UPDATE zart.batches SET status = 'paused', pause_cause = 'operator', completed_at = NULL,
        is_prepared = false
    WHERE batch_id = $1
"""


async def test_what_a_batch_still_selects_by_is_not_removed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await load_runs(rig, 3, "completed")
    await rig.db.execute(batch_of("ba-old", "true"))
    selecting = await rig.client.create_batch(
        zart.Restart(), filter=zart.ExecutionFilter(batch_id="ba-old")
    )
    await until_batch(rig.client, selecting.batch_id, "COMPLETED")
    await rig.db.execute(_UNPREPARED, selecting.batch_id)
    await make_operations_old(rig.db)
    await sweep(zart_server)
    there = "SELECT array_agg(batch_id ORDER BY batch_key) FROM zart.batches"
    assert await rig.db.fetchval(there) == ["ba-old", selecting.batch_id]
    await rig.client.cancel_batch(selecting.batch_id)
    await sweep(zart_server)
    assert await rig.db.fetchval(there) == [selecting.batch_id]


async def remove_an_item(server: ServerUnderTest) -> None:
    """Have a server remove one item of a batch that has ended, as if they were kept no longer."""

    async def remove() -> None:
        async with server.running.runtime.retention._db.transaction(first=ALLOW_PURGE) as tx:
            assert await remove_batches(tx, datetime.now(UTC) + timedelta(days=1), 1)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(remove(), server.loop))


async def test_by_a_batch_that_is_being_removed_nothing_is_selected(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """What is left of it is not what it selected."""
    await start_many(rig.client, 3)
    removed = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    await until_batch(rig.client, removed.batch_id, "COMPLETED")
    wanted = zart.ExecutionFilter(batch_id=removed.batch_id)
    selecting = await rig.client.create_batch(zart.Restart(), filter=wanted)
    await until_batch(rig.client, selecting.batch_id, "COMPLETED")
    await remove_an_item(zart_server)
    for plans in (True, False):
        with pytest.raises(errors.BatchNotFound):
            await rig.client.create_batch(zart.Restart(), filter=wanted, validate_only=plans)
    with pytest.raises(errors.BatchNotFound):
        await rig.client.list_executions(wanted)
    await rig.db.execute(_UNPREPARED, selecting.batch_id)
    await rig.client.resume_batch(selecting.batch_id)
    batch = await until_batch(rig.client, selecting.batch_id, "CANCELLED")
    assert removed.batch_id in batch.error
