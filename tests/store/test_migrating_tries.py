"""A migration that waits tries seldom, however many migrate: each try stops who uses the table."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest
from sqlalchemy import text
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from store.test_migrating_in_use import _VERSION as VERSION
from waiting import GIVE_UP, until

from zart_server.store import migrate as migrating
from zart_server.store.migrate import migrate

_WINDOW = 6.0  # seconds
_LONG = 0.3  # that a read takes only if it has to wait
_TURN = f"SELECT pg_advisory_lock({migrating._MIGRATION_LOCK})"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    return caplog


async def standing_still(db: asyncpg.Connection[asyncpg.Record], table: str) -> float:
    """Read a table all the time, and return for how many seconds of it reads had to wait."""
    loop = asyncio.get_running_loop()
    end, waited = loop.time() + _WINDOW, 0.0
    while (begun := loop.time()) < end:
        await db.fetch(f"SELECT FROM {table}")
        took = loop.time() - begun
        waited += took if took > _LONG else 0.0
    return waited


async def test_two_that_wait_for_a_report_stop_nobody_meanwhile(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
) -> None:
    newest = await db.fetchval(VERSION)
    await db.execute(STEP_BACK)
    report = await asyncpg.connect(zart_database)
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT FROM zart.error_groups")
        both = [asyncio.create_task(migrate(zart_database)) for _ in range(2)]
        await until(lambda: "once these have ended" in told.text)

        # One more try, of the second, would be 1.5 s.
        assert await standing_still(db, "zart.error_groups") < 1.2

        await report.execute("COMMIT")
        await asyncio.wait_for(asyncio.gather(*both), GIVE_UP)
    finally:
        await report.close()
    assert await db.fetchval(VERSION) == newest
    assert "another one migrates, zart-migrate" in told.text


async def test_one_that_uses_another_table_for_long_is_not_waited_for_until_its_end(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrating, "_AT_LATEST", 2.0)
    newest = await db.fetchval(VERSION)
    await db.execute(STEP_BACK)
    report, other = [await asyncpg.connect(zart_database) for _ in range(2)]
    try:
        for session, table in ((report, "error_groups"), (other, "task_retention")):
            await session.execute("BEGIN")
            await session.fetch(f"SELECT FROM zart.{table}")
        migration = asyncio.create_task(migrate(zart_database))
        await until(lambda: "once these have ended" in told.text)
        await report.execute("COMMIT")
        await asyncio.wait_for(migration, GIVE_UP)
    finally:
        await report.close()
        await other.close()
    assert await db.fetchval(VERSION) == newest


async def test_who_waits_for_its_turn_says_for_whom(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
) -> None:
    await db.execute(_TURN)
    migration = asyncio.create_task(migrate(zart_database))
    await until(lambda: f"(pid {db.get_server_pid()}): this one waits" in told.text)
    assert not migration.done()
    await db.execute("SELECT pg_advisory_unlock_all()")
    await asyncio.wait_for(migration, GIVE_UP)


async def test_what_a_killed_one_was_about_ends_with_it(zart_database: str) -> None:
    """PostgreSQL would find out only when it has something to say: at the end of a script."""
    async with migrating._connected(zart_database) as connection, connection.begin():
        shown = await connection.execute(text("SHOW client_connection_check_interval"))

        assert shown.scalar() == "5s"
