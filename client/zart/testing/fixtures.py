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
    import asyncpg

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


class _Databases:
    """Makes and drops databases, on one connection for all tests: each would take its time."""

    def __init__(self, url: str) -> None:
        self._url = url
        # Not the thread's loop: tests have theirs.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def execute(self, statement: str) -> None:
        self._runner.run(self._execute(statement))

    async def _execute(self, statement: str) -> None:
        import asyncpg  # noqa: PLC0415 - only where these fixtures are used

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url)
        await self._connection.execute(statement)

    def close(self) -> None:
        if self._connection is not None:
            self._runner.run(self._connection.close())
        self._runner.close()


@pytest.fixture(scope="session")
def _zart_databases(zart_postgres: str) -> Iterator[_Databases]:
    databases = _Databases(database_url(zart_postgres, "zart"))
    yield databases
    databases.close()


@pytest.fixture
def zart_database(zart_postgres: str, _zart_databases: _Databases) -> Iterator[str]:
    """The URL of a database with the schema and nothing in it; it is dropped after the test."""
    name = f"test_{next(_numbers)}"
    with _reached_by_its_url():
        _zart_databases.execute(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
        yield database_url(zart_postgres, name)
        _zart_databases.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server of its own on an empty database."""
    from zart.testing.server import serving  # noqa: PLC0415 - only where it is used

    with serving(zart_database) as server:
        yield server
