"""A migration that has to wait for somebody holds up nobody, and goes on once they have ended."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import asyncpg
import pytest
from waiting import GIVE_UP, until

from zart_server.store.migrate import migrate

_VERSION = "SELECT version_num FROM zart.alembic_version"
# As it was before the newest migrations.
_STEP_BACK = """
    ALTER TABLE zart.batches DROP COLUMN going_since, DROP COLUMN passed_before;
    ALTER TABLE zart.breakers DROP COLUMN updated_at;
    ALTER TABLE zart.breaker_counts DROP COLUMN failed_otherwise;
    CREATE INDEX executions_by_time ON zart.executions USING brin (created_at);
    CREATE INDEX requests_by_time ON zart.requests USING brin (created_at);
    ALTER TABLE zart.pause_canaries DROP COLUMN last_queue_no;
    DROP FUNCTION zart.last_queue_no();
    DROP INDEX zart.batch_items_by_execution;
    ALTER TABLE zart.error_groups DROP COLUMN former_id, DROP COLUMN former_template;
    DROP TABLE zart.fingerprint_version;
    DROP TABLE zart.possible_losses;
    DROP INDEX zart.released_steps_by_time;
    CREATE FUNCTION zart.pausing_rule(text, text, text) RETURNS bigint LANGUAGE sql
        RETURN NULL::bigint;
    UPDATE zart.alembic_version SET version_num = '0023';
"""


async def test_a_migration_that_waits_for_a_report_keeps_no_call_waiting(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    newest = await db.fetchval(_VERSION)
    await db.execute(_STEP_BACK)
    report = await asyncpg.connect(zart_database, server_settings={"application_name": "pg_dump"})
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT * FROM zart.error_groups")  # and so locked, until the end
        migrating = asyncio.create_task(migrate(zart_database))
        await until(lambda: "once these have ended" in caplog.text)
        assert "pg_dump (pid" in caplog.text
        assert not migrating.done()
        # Somebody else's statement waits for the migration's wait at most, which ends.
        await asyncio.wait_for(db.fetch("SELECT * FROM zart.error_groups"), GIVE_UP)
        await report.execute("COMMIT")
        await asyncio.wait_for(migrating, GIVE_UP)
    finally:
        await report.close()
    assert await db.fetchval(_VERSION) == newest


async def test_a_version_that_is_whole_stays_while_the_next_one_waits(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], caplog: pytest.LogCaptureFixture
) -> None:
    """Its locks are given back: else each death of a step would wait for somebody else's report."""
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    newest = await db.fetchval(_VERSION)
    await db.execute(_STEP_BACK)
    report = await asyncpg.connect(zart_database)
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT * FROM zart.batch_items")  # 0025 is for that one, 0024 is not
        migrating = asyncio.create_task(migrate(zart_database))
        await until(lambda: "once these have ended" in caplog.text)
        assert await db.fetchval(_VERSION) == "0024"
        # It takes no lock that it would wait for, and so none that others wait for.
        await db.execute("BEGIN; LOCK TABLE zart.error_groups NOWAIT; COMMIT")
        migrating.cancel()
        await asyncio.gather(migrating, return_exceptions=True)
        assert await db.fetchval(_VERSION) == "0024"  # what was cut off is the next one alone
        await report.execute("COMMIT")
    finally:
        await report.close()
    await migrate(zart_database)
    assert await db.fetchval(_VERSION) == newest


async def test_several_that_migrate_at_once_take_turns(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    newest = await db.fetchval(_VERSION)
    await db.execute("DROP SCHEMA zart CASCADE")  # and with it the views of its tables

    await asyncio.gather(*(migrate(zart_database) for _ in range(3)))

    assert await db.fetchval(_VERSION) == newest


async def test_who_made_the_schema_needs_no_right_to_make_another(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    """As where the database is somebody else's, who gave that right and took it back."""
    parts = urlsplit(zart_database)
    newest = await db.fetchval(_VERSION)
    await db.execute(f"REVOKE CREATE ON DATABASE {parts.path[1:]} FROM {parts.username}")
    await db.execute(_STEP_BACK)

    await migrate(zart_database)

    assert await db.fetchval(_VERSION) == newest
