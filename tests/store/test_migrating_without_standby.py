"""No standby answers while the schema is changed: what uses its tables goes on."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest
from server.primary import WAITS, Primary
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from store.test_migrating_in_use import _VERSION as VERSION
from waiting import GIVE_UP, eventually, until

from zart_server.embedded import postgres
from zart_server.store import migrate as migrating
from zart_server.store.migrate import migrate
from zart_server.store.schema import known_versions


async def test_its_locks_are_given_back_and_it_is_said_to_be_done_once_a_standby_has_it(
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.WARNING, "zart_server.store.migrate")
    monkeypatch.setattr(migrating, "_SOON", 0.1)
    folder = tmp_path_factory.mktemp("primary") / "pg"
    with postgres.running(folder, durable=False) as running:
        await migrate(running.url)
        assert "standby" not in caplog.text
        db = await asyncpg.connect(running.url)
        await db.execute(STEP_BACK)
        primary = Primary(folder, running)
        async with primary.without_standby():
            migration = asyncio.create_task(migrate(running.url))

            async def is_made() -> bool:
                return bool(await db.fetchval(VERSION) == known_versions()[-1])

            await eventually(is_made)
            await asyncio.wait_for(db.fetch("SELECT updated_at FROM zart.breakers"), GIVE_UP)
            await eventually(lambda: db.fetchval(WAITS))
            await until(lambda: "the synchronous standby does not say yet" in caplog.text)
            assert not migration.done()
            held = await db.fetchval(
                "SELECT count(*) FROM pg_locks JOIN pg_class c ON c.oid = relation"
                " WHERE relnamespace = 'zart'::regnamespace AND pid <> pg_backend_pid()"
            )
            assert held == 0
        await asyncio.wait_for(migration, GIVE_UP)
        await db.close()
