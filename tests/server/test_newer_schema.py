"""A server of an older version, started on a schema that a newer one has changed, says so."""

from __future__ import annotations

import asyncio

import pytest
from rig import Rig
from terminal import zart_command

from zart.testing.fixtures import execute
from zart.testing.server import ServerUnderTest, serving
from zart_server.app import StartError

NEWER = "UPDATE zart.alembic_version SET version_num = '9999'"


@pytest.mark.parametrize("migrate", [True, False])
def test_it_does_not_start(zart_database: str, *, migrate: bool) -> None:
    execute(zart_database, NEWER)

    with (
        pytest.raises(StartError, match="has schema 9999, which a newer version made"),
        serving(zart_database, migrate=migrate),
    ):
        pass


def test_neither_does_it_migrate(zart_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(zart_database, NEWER)
    monkeypatch.setenv("ZART_DATABASE_URL", zart_database)
    done = zart_command(monkeypatch, ["migrate"])

    assert done.code == 1
    assert done.err.startswith("zart: the database has schema 9999, which a newer version made")


async def test_one_that_runs_goes_on(rig: Rig, zart_server: ServerUnderTest) -> None:
    await asyncio.to_thread(execute, zart_server.database_url, NEWER)
    await rig.start("x", {"a": ()})
    await rig.work()

    assert await rig.run_status() == "COMPLETED"
