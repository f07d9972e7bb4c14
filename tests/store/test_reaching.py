"""How a database is reached: URLs as people paste them, hosts that are gone, and what is told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from waiting import GIVE_UP

from zart.testing.fixtures import execute
from zart_server.embedded import postgres
from zart_server.store.connecting import Connector
from zart_server.store.database_url import to_asyncpg_arguments
from zart_server.store.driver_errors import cause_of
from zart_server.store.migrate import migrate
from zart_server.store.sessions import Session


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p@a:1,b:2/d", ["a", "b"], [1, 2]),
        ("postgresql://u:p@a:1,b/d", ["a", "b"], [1, 5432]),
        ("postgres://u:p@a,b,c/d", ["a", "b", "c"], [5432] * 3),
        ("postgresql://u:p@/d?host=a:1&host=b:2", ["a", "b"], [1, 2]),
        ("postgresql://u:p@a:1/d", "a", 1),
        ("postgresql://u:p@/d?host=/run/postgresql", "/run/postgresql", None),
    ],
)
def test_several_hosts_in_either_form(url: str, hosts: object, ports: object) -> None:
    found = to_asyncpg_arguments(url)
    assert (found["host"], found.get("port")) == (hosts, ports)
    assert (found["user"], found["password"], found["database"]) == ("u", "p", "d")


def test_options_go_along_with_several_hosts() -> None:
    url = "postgresql://u:p%2C%40@a:1,b:2/d?target_session_attrs=read-write"
    found = to_asyncpg_arguments(url)
    assert (found["host"], found["password"]) == (["a", "b"], "p,@")
    assert found["target_session_attrs"] == "read-write"


@contextlib.contextmanager
def silent() -> Iterator[socket.socket]:
    """Listen on a port of loopback and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_given_up_as_it_is_made_is_told_as_no_defect(
    turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In whichever turn of the loop a stop, or the end of its time, comes."""
    with silent() as listener:
        host, port = listener.getsockname()
        connector = Connector(f"postgresql://zart@{host}:{port}/zart", Session("test"))
        connecting = asyncio.create_task(connector.connect())
        accepted = await asyncio.get_running_loop().sock_accept(listener)
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await connecting
        await asyncio.sleep(0)
        accepted[0].close()
        gc.collect()
    assert caplog.messages == []


async def test_a_host_that_is_gone_without_a_word_keeps_nobody_from_the_next(
    zart_database: str,
) -> None:
    there = urlsplit(zart_database)
    with silent() as listener:
        port = listener.getsockname()[1]
        host = f"127.0.0.1:{port},127.0.0.1:{there.port}"
        connector = Connector(
            zart_database.replace(f"{there.hostname}:{there.port}", host), Session("test")
        )
        connection = await asyncio.wait_for(connector.connect(timeout=4.0), GIVE_UP)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        # And the one that answered is asked first from then on.
        await (await connector.connect(timeout=4.0)).close()
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def cause(url: str) -> str:
    """Tell why a database cannot be migrated."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever the driver raises
        asyncio.run(migrate(url))
    return cause_of(raised.value)


def test_what_is_wrong_with_a_database_is_told_in_words(zart_postgres: str) -> None:
    there = urlsplit(zart_postgres)
    wrong = zart_postgres.replace(f":{there.password}@", ":wrong@")
    assert cause(wrong) == "the database refuses this password"
    assert cause(zart_postgres.replace("/template", "/none")) == "the database is not there"
    with silent() as listener:
        port = listener.getsockname()[1]
    gone = zart_postgres.replace(f":{there.port}/", f":{port}/")
    assert cause(gone) == "the database cannot be reached"
    execute(zart_postgres, "CREATE DATABASE bare")
    bare = zart_postgres.replace("/template", "/bare")
    execute(bare, f"REVOKE CREATE ON DATABASE bare FROM {there.username}")
    assert cause(bare).startswith("the database lets this role not do what it must")
    assert "to own the database, or CREATE on it and on schema public" in cause(bare)
    execute(bare, f"GRANT CREATE ON DATABASE bare TO {there.username}")
    execute(bare, "DROP SCHEMA public")
    assert cause(bare) == "the database has no schema public, where the views are made"
    execute(zart_postgres, "DROP DATABASE bare")


def test_a_postgresql_that_is_too_old_is_told_by_its_version(
    zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = asyncpg.types.ServerVersion(14, 9, 0, "final", 0)
    monkeypatch.setattr(asyncpg.Connection, "get_server_version", lambda _: old)

    assert cause(zart_database) == "PostgreSQL 14 is too old: 15 or later is needed"


def test_a_standby_is_told_to_be_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    with postgres.running(folder, durable=False):
        pass
    (folder / "data" / "standby.signal").touch()
    with postgres.running(folder, durable=False) as standby:
        assert cause(standby.url).startswith("the database is read-only")
