"""A database has each character, or is not taken: what it cannot hold would be lost later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import zart
from zart.testing.fixtures import database_url, execute
from zart.testing.server import serving
from zart_server.app import StartError
from zart_server.store import sessions
from zart_server.store.migrate import migrate


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def encoding(request: pytest.FixtureRequest) -> str:
    """An encoding that does not have all."""
    return str(request.param)


@pytest.fixture
def encoded(zart_postgres: str, encoding: str) -> Iterator[str]:
    """The URL of an empty database in it."""
    execute(zart_postgres, f"CREATE DATABASE encoded ENCODING '{encoding}' TEMPLATE template0")
    yield database_url(zart_postgres, "encoded")
    execute(zart_postgres, "DROP DATABASE encoded WITH (FORCE)")


async def test_one_that_is_new_is_refused_and_told_what_to_do(encoded: str, encoding: str) -> None:
    told = (
        f"the database's encoding is {encoding}, it must be UTF8:"
        " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )
    with pytest.raises(StartError, match=told), serving(encoded):
        pass
    with pytest.raises(sessions.SessionRefused, match=told):
        await migrate(encoded)


async def test_one_that_has_the_schema_goes_on_and_is_warned_of_once(
    encoded: str,
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was made when nobody looked."""
    with monkeypatch.context() as before:
        before.setattr(sessions, "_ENCODING", encoding)
        await migrate(encoded)
    sessions._warn_of_encoding.cache_clear()

    with serving(encoded) as server:
        async with zart.connect(server.address) as client:
            started = [
                client.start("t", execution_id=f"x-{n}", steps=[zart.StepSpec("a")])
                for n in range(3)
            ]
            await asyncio.gather(*started)
    assert caplog.text.count(f"the database's encoding is {encoding}, it should be UTF8") == 1
