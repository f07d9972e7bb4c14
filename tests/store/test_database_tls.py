"""TLS to the database: the URL says whether and whom to trust, as it says to PostgreSQL's programs."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from authority import Authority
from waiting import GIVE_UP

from zart_server.settings import Settings, SettingsError
from zart_server.store.connecting import Connector
from zart_server.store.database_url import to_asyncpg_arguments
from zart_server.store.driver_errors import cause_of
from zart_server.store.sessions import Session

URL = "postgresql://u:secret-word@h/d"


def bare(url: str) -> str:
    """Return a URL without its options."""
    return url.partition("?")[0]


async def answers(url: str) -> bool:
    """Whether a URL leads to a database."""
    connection = await Connector(url, Session("test")).connect(GIVE_UP)
    try:
        return bool(await connection.fetchval("SELECT true"))
    finally:
        await connection.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until nothing more comes."""
    try:
        with contextlib.suppress(OSError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def speaking_tls(url: str, authority: Authority) -> AsyncIterator[str]:
    """Stand before a database that speaks no TLS, and speak it; the database's URL there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("database", "database"))
    there = urlsplit(url)
    calls: list[asyncio.Task[object] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.current_task())
        inner = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        port = server.sockets[0].getsockname()[1]
        yield bare(url).replace(f":{there.port}/", f":{port}/")
    finally:
        server.close()
        await asyncio.gather(*filter(None, calls))


async def test_the_authority_that_a_url_names_is_the_one_that_is_trusted(
    zart_database: str, tmp_path: Path
) -> None:
    trusted, other = (Authority(tmp_path / name, name) for name in ("trusted", "the other"))
    async with speaking_tls(zart_database, trusted) as url:
        tls = f"{url}?sslnegotiation=direct&sslmode="
        assert await answers(f"{tls}require")
        assert await answers(f"{tls}verify-full&sslrootcert={quote(str(trusted.ca))}")
        with pytest.raises(ssl.SSLCertVerificationError) as raised:
            await answers(f"{tls}verify-full&sslrootcert={quote(str(other.ca))}")
        assert "over TLS as its URL asks" in cause_of(raised.value)
        with pytest.raises(ssl.SSLCertVerificationError):
            await answers(f"{url}?sslnegotiation=direct&sslrootcert=system")


async def test_a_database_without_tls_is_taken_where_the_url_says_so(zart_database: str) -> None:
    assert await answers(f"{bare(zart_database)}?sslmode=disable&application_name=mine")
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the driver says nothing closer
        await answers(f"{bare(zart_database)}?sslmode=require")
    assert cause_of(raised.value) == "the database cannot be reached"


def test_options_of_tls_reach_the_driver_beside_the_rest(tmp_path: Path) -> None:
    options = "sslmode=verify-ca&sslrootcert=%2Fa%20b%2Fca.pem&target_session_attrs=read-write"
    found = to_asyncpg_arguments(f"postgresql://u:p@a:1,b/d?{options}")
    assert (found["host"], found["port"]) == (["a", "b"], [1, 5432])
    assert found["target_session_attrs"] == "read-write"
    tls = {"sslmode": ["verify-ca"], "sslrootcert": ["/a b/ca.pem"]}
    assert parse_qs(urlsplit(found["dsn"]).query) == tls
    assert found.keys() == {
        "user", "password", "host", "port", "database", "target_session_attrs", "dsn",
    }  # fmt: skip
    assert to_asyncpg_arguments("postgresql://h/?dbname=other")["database"] == "other"
    # A password may look like options.
    found = to_asyncpg_arguments("postgresql://u:p?sslmode=&x@h/d?sslmode=require")
    assert (found["password"], found["host"]) == ("p?sslmode=&x", "h")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("nonsense=hidden", "the option nonsense of the database URL is not known"),
        ("options=-c%20role=hidden", "the option options of the database URL is not known"),
        ("hidden%40h/d=1", "an option of the database URL is not known"),
        ("sslmode=hidden", "sslmode in the database URL must be one of disable, allow"),
        ("ssl=hidden", "ssl in the database URL must be one of disable, allow"),
        ("sslmode=", "sslmode in the database URL is blank"),
        ("application_name=hidden&ssl", "ssl in the database URL is blank"),
        ("sslmode=require&sslrootcert=", "sslrootcert in the database URL is blank"),
        ("channel_binding=&sslmode=require", "channel_binding in the database URL is blank"),
        ("sslmode=disable&sslmode=require", "sslmode is given twice"),
        ("channel_binding=require", "channel_binding in the database URL must be disable or"),
        ("sslmode=require&sslrootcert=system", "goes with sslmode=verify-full only"),
        ("sslrootcert=system&sslcert=/dev/null", "sslcert in the database URL does not go with"),
        ("sslmode=verify-full", "sslmode=verify-full in the database URL needs sslrootcert"),
        ("sslrootcert=/none.pem", "sslrootcert in the database URL: /none.pem: No such file"),
    ],
)
def test_what_cannot_be_in_a_url_is_told_by_its_name_alone(
    options: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # which may have an authority
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    with pytest.raises(SettingsError) as raised:
        Settings.load(database_url=f"{URL}?{options}")
    said = str(raised.value)
    assert said.startswith("ZART_DATABASE_URL: ")
    assert message in said
    assert "hidden" not in said
    assert "secret-word" not in said


def test_a_url_as_platforms_hand_it_out_is_taken(tmp_path: Path) -> None:
    ca = Authority(tmp_path).ca
    for options in (
        "sslmode=require",
        "sslmode=require&channel_binding=prefer&application_name=shop",
        f"sslmode=verify-full&sslrootcert={ca}",
        "sslmode=verify-full&sslrootcert=system",
        "ssl=require",
    ):
        assert Settings.load(database_url=f"{URL}?{options}").database_url.endswith(options)
