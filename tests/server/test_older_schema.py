"""A failover to a standby that lacks a version of the schema: servers that run say so, and wait."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from ports import free_port
from rig import CHAIN, specs
from server.health import NOT_SERVING, SERVING, health
from waiting import GIVE_UP, eventually, until

import zart
from zart import errors
from zart.testing.fixtures import execute
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.store.migrate import migrate
from zart_server.store.schema import known_versions

SERVICE = "zart.v1.AdminService"
OLDER = """
    DROP INDEX zart.breakers_updated;
    ALTER TABLE zart.breakers DROP COLUMN updated_at;
    ALTER TABLE zart.breaker_counts DROP COLUMN failed_otherwise;
    UPDATE zart.alembic_version SET version_num = '0028';
"""


@pytest.mark.parametrize(
    ("lose", "version"), [(OLDER, "0028"), ("DROP SCHEMA zart CASCADE", "none")]
)
async def test_health_and_log_tell_of_it_until_somebody_migrates(
    lose: str, version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
            await asyncio.to_thread(execute, elsewhere.url, lose)
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
