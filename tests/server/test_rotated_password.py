"""Where the file with the database's URL is replaced, new sessions are made with what it says."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from rig import CHAIN, eventually, specs
from server.health import NOT_SERVING, SERVING, health
from server.test_read_only import END_SESSIONS, SERVICE, until_health
from waiting import GIVE_UP

import zart
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.store.followed_url import FollowedUrl
from zart_server.store.migrate import migrate

_PURPOSES = """
    SELECT DISTINCT split_part(application_name, ' ', 1), usename FROM pg_stat_activity
    WHERE application_name LIKE 'zart-%'
"""
ALL = {"zart-server", "zart-notifications", "zart-watch"}
REFUSED = "NOT_SERVING: the database refuses this password"


def as_user(url: str, user: str, password: str) -> str:
    """Return the URL with another user and password."""
    parsed = urlsplit(url)
    host = f"{user}:{password}@{parsed.hostname}:{parsed.port}"
    return urlunsplit(parsed._replace(netloc=host))


def replace(file: Path, url: str) -> None:
    """Have the file hold another URL."""
    file.write_text(url + "\n")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL whose passwords are changed; its URL at first."""
    folder = tmp_path_factory.mktemp("own")
    with postgres.running(folder, durable=False, attributes=["SUPERUSER"]) as running:
        yield running.url


@pytest.fixture
async def admin(own: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A session of its owner's, which goes on; at the end the password is the first one again."""
    connection = await asyncpg.connect(own)
    yield connection
    await connection.execute(f"ALTER ROLE zart PASSWORD '{urlsplit(own).password}'")
    await connection.close()


@pytest.fixture
def file(own: str, tmp_path: Path) -> Path:
    """The file with the URL."""
    path = tmp_path / "url"
    path.write_text(own + "\n")
    return path


async def test_a_server_serves_on_with_the_new_password(
    own: str,
    admin: asyncpg.Connection[asyncpg.Record],
    file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving("", database_url_file=file) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            await client.start("t", execution_id="before", steps=specs(CHAIN))
            await admin.execute("ALTER ROLE zart PASSWORD 'second'")

            async def is_refused() -> bool:
                await admin.execute(END_SESSIONS)  # one may have begun shortly before
                return bool(await health(client, SERVICE) == NOT_SERVING and REFUSED in caplog.text)

            await eventually(is_refused)

            replace(file, as_user(own, "zart", "second"))

            await until_health(client, SERVING)
            await client.start("t", execution_id="after", steps=specs(CHAIN))
            await until_all_are_back(admin, "zart")
    assert "second" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_and_as_another_user(
    own: str, admin: asyncpg.Connection[asyncpg.Record], file: Path
) -> None:
    """As where each has a few hours, and is then gone."""
    await admin.execute("CREATE ROLE later LOGIN PASSWORD 'later' IN ROLE zart")
    with serving("", database_url_file=file) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            await client.start("t", execution_id="as-zart", steps=specs(CHAIN))
            replace(file, as_user(own, "later", "later"))
            await admin.execute(END_SESSIONS)

            await until_all_are_back(admin, "later")
            await client.start("t", execution_id="as-later", steps=specs(CHAIN))


async def until_all_are_back(admin: asyncpg.Connection[asyncpg.Record], user: str) -> None:
    """Wait until there are sessions of each purpose again, all of this user."""

    async def are_back() -> bool:
        found = {tuple(row) for row in await admin.fetch(_PURPOSES)}
        return found == {(purpose, user) for purpose in ALL}

    await eventually(are_back)


async def test_a_migration_connects_by_what_stands_there(own: str, file: Path) -> None:
    await migrate(FollowedUrl(as_user(own, "zart", "former"), file))


def test_what_leads_elsewhere_waits_for_a_restart(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of the connections would be to another database than the other half."""
    followed = FollowedUrl("postgresql://u:p@a:1/d", file)
    file.write_text("postgresql://v:secret@b:2/e?sslmode=require")

    for _ in range(3):
        found = followed.arguments()

    assert (found["user"], found["password"]) == ("v", "secret")
    assert (found["host"], found["port"], found["database"]) == ("a", 1, "d")
    assert "dsn" not in found
    assert caplog.text.count(f"{file} has more that is new than user and password") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "mysql://v:secret@a:1/d",
        "postgresql://v:secret@a /d",
        "postgresql://v:secret@a:1,",
        "postgresql://v:secret@a:1,b:",
        "postgresql://v:secret@a:1,b:x/d",
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_read_again(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart_server.store.followed_url")
    followed = FollowedUrl("postgresql://u:p@a:1/d", file)
    replace(file, "postgresql://u:p@a:1/d")
    before = followed.arguments()
    if text is None:
        file.unlink()
    else:
        file.write_text(text)

    assert [followed.arguments() for _ in range(3)] == [before] * 3
    assert caplog.text.count("user and password stay as they were") == 1
    replace(file, "postgresql://u:new@a:1/d")
    assert followed.arguments() == {**before, "password": "new"}
    assert "user and password were read anew" in caplog.text
    assert "secret" not in caplog.text
