"""What stands between a server and PostgreSQL: it works, or the server says why it does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from ports import free_port
from rig import CHAIN, specs
from waiting import block_until

import zart
from zart.testing.server import serving
from zart_server.app import StartError
from zart_server.store.connecting import Connector
from zart_server.store.sessions import Session, SessionRefused

PGBOUNCER = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
_USUAL = {b"user", b"database", b"client_encoding", b"application_name"}


async def work_through(url: str) -> None:
    """Serve on this URL, and have an execution run."""
    with serving(url) as server:
        async with zart.connect(server.address) as client:
            await client.start("t", execution_id="x", steps=specs(CHAIN))
            for _ in CHAIN:
                (task,) = await client.lease_tasks("d", ["t"], wait=60)
                done = zart.Outcome(task.task_id, task.lease_token, zart.Completed(None))
                assert (await client.report_tasks("d", [done]))[0].status == "RECORDED"
            assert (await client.get_execution("x")).run.status == "COMPLETED"


async def _head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the head of the startup message; what asks for TLS or GSS before it is refused."""
    head = await reader.readexactly(8)
    while struct.unpack("!ii", head)[1] in (80877103, 80877104):
        writer.write(b"N")
        head = await reader.readexactly(8)
    return head


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def _pump_but(
    setting: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pass on what a client sends, but have its simple queries set another setting than this one.

    That is how sessions are set; what they were set to is read back by a prepared statement.
    """
    name = f'"{setting}"'.encode()
    with contextlib.suppress(asyncio.IncompleteReadError):  # it has left
        while True:
            head = await reader.readexactly(5)
            said = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            if head.startswith(b"Q"):
                said = said.replace(name, name[::-1])  # which PostgreSQL does not know
            writer.write(head + said)
    writer.close()


@contextlib.asynccontextmanager
async def proxied(database: str, losing: str = "") -> AsyncIterator[str]:
    """Refuse startup parameters that PgBouncer refuses too; gives the URL of the proxy.

    It may be ``losing`` a setting, so that no session is set to it.
    """
    target = urlsplit(database)

    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (handler := asyncio.current_task()) is not None:
            handlers.add(handler)
        writers = [writer]
        try:
            await passed_on(reader, writers)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # one end has left
        finally:
            for each in writers:
                each.transport.abort()

    async def passed_on(reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        writer = writers[0]
        head = await _head(reader, writer)
        text = await reader.readexactly(struct.unpack("!i", head[:4])[0] - 8)
        if set(text.split(b"\0")[:-2:2]) - _USUAL:
            said = b"SFATAL\0C08P01\0Munsupported startup parameter\0\0"
            writer.write(b"E" + struct.pack("!i", len(said) + 4) + said)
            await writer.drain()
            await reader.read()  # the caller leaves once it has read that
            return
        to = await asyncio.open_connection(target.hostname, target.port)
        writers.append(to[1])
        to[1].write(head + text)
        there = _pump_but(losing, reader, to[1]) if losing else _pump(reader, to[1])
        await asyncio.gather(there, _pump(to[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield database.replace(f":{target.port}/", f":{port}/")
    for handler in handlers:
        handler.cancel()
    await asyncio.gather(*handlers, return_exceptions=True)


async def test_no_setting_is_sent_as_a_startup_parameter(zart_database: str) -> None:
    async with proxied(zart_database) as url:
        await asyncio.to_thread(asyncio.run, work_through(url))


@pytest.mark.parametrize(
    "setting",
    [
        "default_transaction_isolation",
        "synchronous_commit",
        "search_path",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "plan_cache_mode",
        "enable_seqscan",
    ],
)
async def test_a_session_in_which_a_setting_does_not_hold_is_refused_by_its_name(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], setting: str
) -> None:
    """What a database has otherwise as its default, or PostgreSQL, and something has lost."""
    name = urlsplit(zart_database).path[1:]
    for default in ("default_transaction_isolation = 'serializable'", "synchronous_commit = off"):
        await db.execute(f"ALTER DATABASE {name} SET {default}")
    async with proxied(zart_database, losing="none") as url:
        connection = await Connector(url, Session("test")).connect()
        await connection.close()
    async with proxied(zart_database, losing=setting) as url:
        with pytest.raises(SessionRefused, match=f"does not keep the setting {setting}: "):
            await Connector(url, Session("test")).connect()


@contextlib.contextmanager
def pgbouncer(database: str, folder: Path, mode: str) -> Iterator[str]:
    """Run PgBouncer before a database; gives the URL that leads through it."""
    assert PGBOUNCER is not None
    target, port = urlsplit(database), free_port()
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host=127.0.0.1 port={target.port} user={target.username}"
        f" password={target.password}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n"
        f"auth_type=any\npool_mode={mode}\nunix_socket_dir=\nlogfile={folder}/log\n"
    )
    command = [PGBOUNCER, "-q", str(ini)]
    options = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for each in (folder, ini):
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:

        def takes_connections() -> bool:
            assert process.poll() is None
            with contextlib.suppress(OSError), _connected(port):
                return True
            return False

        block_until(takes_connections)
        yield database.replace(f":{target.port}/", f":{port}/")
    finally:
        process.kill()
        process.wait()


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused_in_one_sentence(
    zart_database: str, tmp_path: Path, mode: str
) -> None:
    with (
        pgbouncer(zart_database, tmp_path, mode) as url,
        pytest.raises(StartError, match="pool_mode=session") as refused,
        serving(url),
    ):
        pass
    assert "password" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
def test_a_pooler_that_leaves_each_its_session_will_do(zart_database: str, tmp_path: Path) -> None:
    with pgbouncer(zart_database, tmp_path, "session") as url:
        asyncio.run(work_through(url))
