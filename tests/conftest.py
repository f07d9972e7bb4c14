"""Every test talks to a real server on a real PostgreSQL through a real channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from rig import Rig

import zart
from zart.testing.server import ServerUnderTest

settings.register_profile(
    "zart",
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("zart")

ROOT = Path(__file__).parents[1]


@pytest.fixture
async def client(zart_server: ServerUnderTest) -> AsyncIterator[zart.Client]:
    """A client of the server."""
    async with zart.connect(zart_server.address, triggered_by="tester") as connected:
        yield connected


@pytest.fixture
async def db(zart_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the server's database, for what only SQL can tell."""
    connection = await asyncpg.connect(zart_database)
    yield connection
    await connection.close()


@pytest.fixture
def rig(client: zart.Client, db: asyncpg.Connection[asyncpg.Record]) -> Rig:
    """Short words for what tests do."""
    return Rig(client, db)
