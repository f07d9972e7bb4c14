"""One system of all processes, on a database of its own, for the tests that look at all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from metrics.having_all import have_all
from metrics.system import System, running_system
from rig import Rig

import zart
from zart.testing.fixtures import database_url, execute
from zart_server.store.db import Database


@pytest.fixture
async def opened(zart_database: str) -> AsyncIterator[Database]:
    """The database, as a server opens it."""
    database = await Database.open(zart_database, pool_size=2)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def shared_system(zart_postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system in which whatever metrics tell of has come about."""
    url, other = (database_url(zart_postgres, name) for name in ("measured", "zart"))
    execute(other, "CREATE DATABASE measured TEMPLATE template STRATEGY wal_log")
    with running_system(url, tmp_path_factory.mktemp("system")) as system:
        asyncio.run(_prepared(system))
        yield system
    execute(other, "DROP DATABASE measured WITH (FORCE)")


async def _prepared(system: System) -> None:
    db = await asyncpg.connect(system.server.database_url)
    try:
        async with zart.connect(system.server.address, triggered_by="tester") as client:
            await have_all(Rig(client, db), system.http)
    finally:
        await db.close()
