"""What one reading of the database takes is bounded, however much there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from zart_server.metrics.reading import DatabaseReader
from zart_server.store.db import Database
from zart_server.store.reads.backlog import read_parts

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def opened(zart_database: str) -> AsyncIterator[Database]:
    """The database, as a server opens it."""
    database = await Database.open(zart_database, pool_size=2)
    yield database
    await database.close()


async def queue(db: Sql, tasks: int, each: int) -> None:
    """Queue so many steps of each of so many tasks, which have been due for a minute."""
    await db.execute(
        "INSERT INTO zart.lanes (task_name, handler)"
        " SELECT 't' || n, 'h' FROM generate_series(1, $1) n",
        tasks,
    )
    await db.execute(
        """
        INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base,
            max_attempts, timeout_seconds, queue_no, not_before, scheduled_at, step_name)
        SELECT row_number() OVER (), 0, lane, 1, 0, 0, 3, 60, row_number() OVER (),
            now() - interval '1 minute', now(), 'step'
        FROM generate_series(1, $1) n, zart.lanes
        """,
        each,
    )


async def test_many_steps_are_estimated_by_a_part_of_them(db: Sql, opened: Database) -> None:
    await queue(db, 4, 15_000)
    async with opened.autocommit() as connection:
        parts = await read_parts(connection)
    assert parts.queue < 0.5
    assert (parts.held, parts.leases, parts.dead_steps) == (1, 1, 1)

    reader = DatabaseReader(opened, asyncio.get_running_loop())
    found, again = await reader._read(), await reader._read()
    assert found.queued == again.queued
    assert len(found.queued) == 4
    assert all(12_000 < count < 18_000 for count in found.queued.values())


async def test_the_oldest_steps_of_many_tasks_are_looked_for_in_turns(
    db: Sql, opened: Database
) -> None:
    await queue(db, 250, 1)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    first, second = await reader._read(), await reader._read()
    assert (len(first.oldest), len(second.oldest)) == (200, 250)
    assert all(60 <= age < 600 for age in second.oldest.values())

    await db.execute("DELETE FROM zart.queue")
    third = await reader._read()
    assert len(third.oldest) == 50
    assert (await reader._read()).oldest == {}


async def test_a_lane_that_comes_meanwhile_is_known(db: Sql, opened: Database) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert (await reader._read()).queued == {}
    await queue(db, 1, 3)
    found = await reader._read()
    ((lane, count),) = found.queued.items()
    assert (found.lanes[lane], count) == ("t1", 3)
