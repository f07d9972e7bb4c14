"""A database that is frozen by default_transaction_read_only is not written to: it may be moved."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from rig import CHAIN, Rig, eventually, specs
from server.health import NOT_SERVING, SERVING, health
from waiting import GIVE_UP

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart_server.app import StartError
from zart_server.embedded import postgres

SERVICE = "zart.v1.AdminService"
CAUSE = "the database is read-only: it is a standby, or default_transaction_read_only is on"
END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def until_health(client: zart.Client, status: object) -> None:
    """Wait until the server tells this of itself."""

    async def is_told() -> bool:
        return bool(await health(client, SERVICE) == status)

    await eventually(is_told)


async def test_a_frozen_database_is_not_served_until_it_is_free(
    zart_server: ServerUnderTest,
    db: asyncpg.Connection[asyncpg.Record],
    zart_database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As before a move: the database is frozen, and its sessions are ended."""
    name = urlsplit(zart_database).path[1:]
    async with zart.connect(zart_server.address, timeout=GIVE_UP) as client:
        await client.start("t", execution_id="before", steps=specs(CHAIN))
        await db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await db.execute(END_SESSIONS)

        await until_health(client, NOT_SERVING)
        impatient = zart.Client(client.channel, timeout=2)
        with pytest.raises((errors.StoreUnavailable, zart.Unreachable)):
            await impatient.start("t", execution_id="amid", steps=specs(CHAIN))
        assert await db.fetchval("SELECT count(*) FROM zart.executions") == 1
        assert f"NOT_SERVING: {CAUSE}" in caplog.text

        await db.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await until_health(client, SERVING)
        await client.start("t", execution_id="after", steps=specs(CHAIN))
    assert "Traceback" not in caplog.text


async def test_no_server_begins_on_one(
    db: asyncpg.Connection[asyncpg.Record], zart_database: str
) -> None:
    name = urlsplit(zart_database).path[1:]
    await db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(StartError, match=CAUSE), serving(zart_database):
        pass


async def test_sessions_that_there_are_heed_it_and_heal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a platform does where the disk is nearly full: ALTER SYSTEM, which counts at once."""
    with (
        postgres.running(tmp_path / "pg", durable=False, attributes=["SUPERUSER"]) as own,
        serving(own.url) as server,
    ):
        db = await asyncpg.connect(own.url)
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            rig = Rig(client, db)
            await rig.start("x", CHAIN)
            task = await rig.lease_one("a")
            await db.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await db.execute("SELECT pg_reload_conf()")

            await until_health(client, NOT_SERVING)
            impatient = Rig(zart.Client(client.channel, timeout=2), db)
            with pytest.raises((errors.StoreUnavailable, zart.Unreachable)):
                await impatient.complete(task)
            with pytest.raises((errors.StoreUnavailable, zart.Unreachable)):
                await impatient.client.cancel_execution("x")
            # Who only reads is answered by the sessions that there are.
            assert (await client.get_execution("x")).run.status == "RUNNING"

            await db.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await db.execute("SELECT pg_reload_conf()")
            await until_health(client, SERVING)
            assert await rig.complete(task) == ["RECORDED"]
        await db.close()
    assert f"NOT_SERVING: {CAUSE}" in caplog.text
    assert f"STORE_UNAVAILABLE: {CAUSE}" in caplog.text
    assert "Traceback" not in caplog.text
