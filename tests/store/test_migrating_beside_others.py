"""A migration waits for those of whom PostgreSQL tells it little, too: it names them, and goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from waiting import GIVE_UP, eventually, until

from zart_server.embedded import postgres
from zart_server.store.migrate import migrate

REPORTER = "reporter"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL with another role, prepared transactions, and a busy autovacuum."""
    with postgres.running(
        tmp_path_factory.mktemp("others"),
        durable=False,
        settings=["max_prepared_transactions=1", "autovacuum_naptime=1s"],
        attributes=["CREATEROLE"],
    ) as running:
        asyncio.run(made(running.url))
        yield running.url


async def made(url: str) -> None:
    """Make the schema, and the role, which may read of it."""
    await migrate(url)
    db = await asyncpg.connect(url)
    await db.execute(
        f"CREATE ROLE {REPORTER} LOGIN PASSWORD '{REPORTER}';"
        f" GRANT USAGE ON SCHEMA zart TO {REPORTER};"
        f" GRANT SELECT ON ALL TABLES IN SCHEMA zart TO {REPORTER}"
    )
    await db.close()


@pytest.fixture
async def stepped_back(own: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to it, where the newest versions of the schema are to be made anew."""
    db = await asyncpg.connect(own)
    await db.execute(STEP_BACK)
    yield db
    await db.close()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    return caplog


async def test_a_session_of_another_role_is_named(
    own: str,
    stepped_back: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
) -> None:
    parts = urlsplit(own)
    theirs = own.replace(f"{parts.username}:{parts.password}@", f"{REPORTER}:{REPORTER}@")
    report = await asyncpg.connect(theirs)
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT * FROM zart.error_groups")
        started = "SELECT xact_start FROM pg_stat_activity WHERE pid = $1"
        assert await stepped_back.fetchval(started, report.get_server_pid()) is None
        migrating = asyncio.create_task(migrate(own))
        await until(lambda: f"ended: {REPORTER} (pid {report.get_server_pid()})" in told.text)
        await report.execute("COMMIT")
        await asyncio.wait_for(migrating, GIVE_UP)
    finally:
        await report.close()
    assert len(told.records) == 1


async def test_so_is_a_prepared_transaction_which_has_none(
    own: str,
    stepped_back: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
) -> None:
    await stepped_back.execute(
        "BEGIN; LOCK TABLE zart.error_groups IN ACCESS SHARE MODE;"
        " PREPARE TRANSACTION 'left behind'"
    )
    migrating = asyncio.create_task(migrate(own))
    await until(lambda: "ended: a prepared transaction (see pg_prepared_xacts)" in told.text)
    await stepped_back.execute("ROLLBACK PREPARED 'left behind'")
    await asyncio.wait_for(migrating, GIVE_UP)


# A vacuum of it takes minutes: it sleeps for 100 ms after each of some two thousand pages.
_SLOW_TO_VACUUM = """
    ALTER TABLE zart.error_groups SET (
        autovacuum_vacuum_insert_threshold = 1, autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template)
    SELECT n, 'eg-' || n, 't', 's', 'Broken', repeat('x', 1800) FROM generate_series(1, 8000) n
"""
_IS_VACUUMED = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'zart.error_groups'::regclass
        AND mode = 'ShareUpdateExclusiveLock' AND granted)
"""


async def test_an_autovacuum_steps_aside(
    own: str, stepped_back: asyncpg.Connection[asyncpg.Record]
) -> None:
    """It does for who waits for longer than deadlock_timeout."""
    await stepped_back.execute(_SLOW_TO_VACUUM)

    async def is_vacuumed() -> bool:
        return bool(await stepped_back.fetchval(_IS_VACUUMED))

    await eventually(is_vacuumed)
    await asyncio.wait_for(migrate(own), GIVE_UP)
