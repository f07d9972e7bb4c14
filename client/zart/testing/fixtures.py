"""pytest fixtures: a real PostgreSQL once, a database of its own and a server for each test.

``zart_server.address`` is where the server listens: ``zart.connect(zart_server.address)``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest

if TYPE_CHECKING:
    from zart.testing.server import ServerUnderTest

_numbers = itertools.count(1)
# These are the drivers' for each database of which its URL does not say otherwise. It says all else
# that PG… may: which one is meant, and that it has no TLS.
_OF_OTHER_DATABASES = ("PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS")


def database_url(url: str, database: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def execute(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    import asyncpg  # noqa: PLC0415 - only where these fixtures are used

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@contextlib.contextmanager
def _reached_by_its_url() -> Iterator[None]:
    """Take what says of other databases how to reach them out of the environment, for so long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _OF_OTHER_DATABASES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def zart_postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where PostgreSQL has its data: yours may be in memory, which makes databases much sooner."""
    return tmp_path_factory.mktemp("postgres")


@pytest.fixture(scope="session")
def zart_postgres(zart_postgres_folder: Path) -> Iterator[str]:
    """A PostgreSQL that forgets everything; the URL of a database ``template`` to be cloned."""
    from zart_server.embedded import postgres  # noqa: PLC0415 - only where it is used
    from zart_server.store.migrate import migrate  # noqa: PLC0415 - likewise

    settings = (
        "max_wal_size=4GB",
        "autovacuum_naptime=1h",
        "track_commit_timestamp=on",
        # A thousand times fewer to each connection: its password is random, and gone with it.
        "scram_iterations=4",
    )
    with postgres.running(
        zart_postgres_folder, durable=False, settings=settings, attributes=["CREATEDB"]
    ) as running:
        template = database_url(running.url, "template")
        with _reached_by_its_url():
            execute(running.url, "CREATE DATABASE template")
            asyncio.run(migrate(template))
        yield template


@pytest.fixture
def zart_database(zart_postgres: str) -> Iterator[str]:
    """The URL of a database with the schema and nothing in it; it is dropped after the test."""
    name = f"test_{next(_numbers)}"
    other = database_url(zart_postgres, "zart")
    with _reached_by_its_url():
        execute(other, f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
        yield database_url(zart_postgres, name)
        execute(other, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server of its own on an empty database."""
    from zart.testing.server import serving  # noqa: PLC0415 - only where it is used

    with serving(zart_database) as server:
        yield server
