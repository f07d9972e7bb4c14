"""A failover to a standby that lacks a version of the schema: servers that run say so, and wait."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from alembic import command
from ports import free_port
from rig import CHAIN, specs
from server.health import NOT_SERVING, SERVING, health
from sqlalchemy import Connection, text
from waiting import GIVE_UP, eventually, until

import zart
from zart import errors
from zart.testing.fixtures import execute
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.store.migrate import _config, _connected, migrate
from zart_server.store.schema import known_versions

SERVICE = "zart.v1.AdminService"
BEFORE = known_versions()[-2]


def make_anew(url: str, version: str) -> None:
    """Leave nothing but an older schema, or none, as a standby had that lacked the newest."""
    execute(url, "DROP SCHEMA zart CASCADE")
    if version != "none":
        upgrade_to(url, version)


def upgrade_to(url: str, version: str) -> None:
    """Make the schema as it was at a version, where there is none, and do nothing else."""

    def upgrade(connection: Connection) -> None:
        connection.execute(text("CREATE SCHEMA zart"))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, version)

    async def run() -> None:
        async with _connected(url) as connection, connection.begin():
            await connection.run_sync(upgrade)

    asyncio.run(run())


@pytest.mark.parametrize("version", [BEFORE, "none"])
async def test_health_and_log_tell_of_it_until_somebody_migrates(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cause = (
        f"NOT_SERVING: the database has schema {version}, this server needs"
        f" {known_versions()[-1]}: run `zart migrate`"
    )
    folder, port = tmp_path / "pg", free_port()
    with contextlib.ExitStack() as stack:
        with postgres.running(folder, port=port, durable=False) as database:
            server = stack.enter_context(serving(database.url))
            client = zart.connect(server.address, timeout=GIVE_UP)
            await client.start("t", execution_id="x", steps=specs(CHAIN))
        with postgres.running(folder, durable=False) as elsewhere:  # where the server is not
            await asyncio.to_thread(make_anew, elsewhere.url, version)
        with postgres.running(folder, port=port, durable=False) as database:
            await until(lambda: cause in caplog.text)
            assert await health(client, SERVICE) == NOT_SERVING
            impatient = zart.Client(client.channel, timeout=5)
            with pytest.raises((errors.StoreUnavailable, zart.Unreachable)):
                await impatient.list_pause_rules()

            await migrate(database.url)

            async def is_back() -> bool:
                return bool(await health(client, SERVICE) == SERVING)

            await eventually(is_back)
            await client.start("t", execution_id="y", steps=specs(CHAIN))
            await client.close()
            stack.close()
    assert "Traceback" not in caplog.text
    assert caplog.text.count(cause) == 1
