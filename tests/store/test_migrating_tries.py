"""A migration that waits tries seldom, however many migrate: each try stops who uses the table."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.util import await_only
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from store.test_migrating_in_use import _VERSION as VERSION
from waiting import GIVE_UP, until

from zart_server.store import migrate as migrating
from zart_server.store.migrate import migrate

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

_LOOKS = 6  # of both together: each looks once a second
_TURN = f"SELECT pg_advisory_lock({migrating._MIGRATION_LOCK})"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    return caplog


class Turns:
    """The turns of all who migrate: whether each one ``tried`` in its turn; how many ``looks``.

    Who has the first turn keeps it until another one waits for it, and tries then.
    """

    def __init__(self, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[bool] = []
        self.looks = 0
        self._told = told
        self._upgrade = migrating._upgrade
        look = migrating._Waiting._look

        async def counted(waiting: migrating._Waiting, connection: AsyncConnection) -> list[str]:
            found = await look(waiting, connection)
            self.looks += 1
            return found

        monkeypatch.setattr(migrating._Waiting, "_look", counted)
        monkeypatch.setattr(migrating, "_upgrade", self.upgrade)
        # As long as the test needs: neither is cut off as it keeps its turn, nor tries at last.
        session = replace(migrating._SESSION, idle_in_transaction=GIVE_UP)
        monkeypatch.setattr(migrating, "_SESSION", session)
        monkeypatch.setattr(migrating, "_AT_LATEST", GIVE_UP)

    def upgrade(self, connection: Connection, *, tries: bool) -> bool:
        self.tried.append(tries)
        if len(self.tried) == 1:
            await_only(until(lambda: "another one migrates, zart-migrate" in self._told.text))
        return self._upgrade(connection, tries=tries)


async def test_two_that_wait_for_a_report_stop_nobody_meanwhile(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = await db.fetchval(VERSION)
    await db.execute(STEP_BACK)
    report = await asyncpg.connect(zart_database)
    turns = Turns(told, monkeypatch)
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT FROM zart.error_groups")
        both = [asyncio.create_task(migrate(zart_database)) for _ in range(2)]
        await until(lambda: len(turns.tried) >= 2)
        enough = turns.looks + _LOOKS
        await until(lambda: turns.looks >= enough)

        assert turns.tried.count(True) == 1
        # Nobody stands in line for it: who reads it waits for none.
        await db.execute("BEGIN; LOCK TABLE zart.error_groups IN ACCESS SHARE MODE NOWAIT; COMMIT")
        assert not any(each.done() for each in both)

        await report.execute("COMMIT")
        await asyncio.wait_for(asyncio.gather(*both), GIVE_UP)
    finally:
        await report.close()
    assert await db.fetchval(VERSION) == newest
    assert "once these have ended" in told.text


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
