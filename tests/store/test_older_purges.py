"""What an older version noted of removed runs, row by row, is one row for each task since 0016."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from server.test_older_schema import upgrade_to

from zart.testing.fixtures import database_url, execute
from zart_server.store.migrate import migrate

_NOTED = """
    INSERT INTO zart.purged_runs (task_name, lives, purged_at) VALUES
        ('t', '{[2026-01-01 00:00Z, 2026-01-01 01:00Z]}', '2026-02-01 00:00Z'),
        ('t', '{[2026-01-01 09:00Z, 2026-01-01 10:00Z]}', '2026-02-03 00:00Z'),
        ('t', '{[2026-01-20 00:00Z, 2026-01-20 01:00Z]}', '2026-02-02 00:00Z'),
        ('u', '{[2026-01-05 00:00Z, 2026-01-05 01:00Z]}', '2026-02-01 00:00Z')
"""
_DAYS = (
    '{["2026-01-01 00:00:00+00","2026-01-01 10:00:00+00"],'
    '["2026-01-20 00:00:00+00","2026-01-20 01:00:00+00"]}'
)
_JOINED = {
    "t": (_DAYS, "2026-02-03 00:00:00+00"),
    "u": ('{["2026-01-05 00:00:00+00","2026-01-05 01:00:00+00"]}', "2026-02-01 00:00:00+00"),
}


@pytest.fixture
def without_temporary_tables(zart_postgres: str) -> Iterator[str]:
    """The URL of an empty database in which nobody makes them, not even its owner."""
    execute(zart_postgres, "CREATE DATABASE hardened")
    execute(zart_postgres, "REVOKE TEMPORARY ON DATABASE hardened FROM PUBLIC, CURRENT_USER")
    yield database_url(zart_postgres, "hardened")
    execute(zart_postgres, "DROP DATABASE hardened WITH (FORCE)")


@pytest.fixture
async def hardened(
    without_temporary_tables: str,
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to it."""
    connection = await asyncpg.connect(
        without_temporary_tables, server_settings={"timezone": "UTC"}
    )
    yield connection
    await connection.close()


async def test_they_are_joined_without_temporary_tables(
    without_temporary_tables: str, hardened: asyncpg.Connection[asyncpg.Record]
) -> None:
    await asyncio.to_thread(upgrade_to, without_temporary_tables, "0015")
    await hardened.execute(_NOTED)

    await migrate(without_temporary_tables)

    found = await hardened.fetch(
        "SELECT task_name, lives::text, purged_at::text FROM zart.purged_runs"
    )
    assert {task: (lives, at) for task, lives, at in found} == _JOINED
    assert len(found) == len(_JOINED)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await hardened.execute("CREATE TEMPORARY TABLE t ()")
