"""SIGHUP reads anew who may come, and stops only what has lost its terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from acceptance.serve_process import ServeProcess, serve_processes
from gateway.sending import Http
from issuing import TokenFile
from ports import free_port
from waiting import GIVE_UP, block_until, eventually

import zart
from zart.testing.server import ServerUnderTest
from zart_server.domain.identity import Role

NOOP = "import zart\nnoop = zart.Task('noop')\n\n@noop.step()\ndef only(ctx): return 1\n"


@contextlib.contextmanager
def zart_process(
    folder: Path,
    *arguments: str,
    terminal: int | None = None,
    stdin: int | None = None,
    stderr: BinaryIO | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    # As in its own window; and not under nohup, where the tests are.
    window = ["env", "--default-signal=HUP", "setsid", "--ctty"]
    under = [] if terminal is None else window
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZART_")}
    process = subprocess.Popen(
        [*under, sys.executable, "-m", "zart.cli", *arguments],
        env=environment,
        cwd=folder,
        stdin=stdin if terminal is None else terminal,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(GIVE_UP)


def hang_up(server: ServeProcess) -> None:
    assert server._process is not None
    server._process.send_signal(signal.SIGHUP)


async def answers(address: str, token: str = "") -> bool:
    async with zart.connect(address, credentials=zart.Credentials(token=token)) as client:
        with contextlib.suppress(zart.ZartError):
            await client.list_pause_rules()
            return True
    return False


async def test_a_server_without_identity_goes_on(zart_database: str, tmp_path: Path) -> None:
    with serve_processes(1, zart_database, tmp_path) as (server,):
        assert await answers(server.address)
        for _ in range(3):
            hang_up(server)
        assert await answers(server.address)
        assert server.is_running
        assert server.stop() == 0


async def test_a_server_reads_its_tokens_whatever_their_file_looks_like(
    zart_database: str, tmp_path: Path
) -> None:
    """The file has the time, the size and the place that it had: nothing else would notice."""
    old, new = TokenFile(tmp_path / "tokens"), TokenFile(tmp_path / "new")
    old.add("old", Role.VIEWER)
    new.add("new", Role.VIEWER)
    settings = {"ZART_AUTH_TOKENS": str(old.path)}
    with serve_processes(1, zart_database, tmp_path, **settings) as (server,):
        assert await answers(server.address, "zart_token-of-old")
        before = old.path.stat()
        text = new.path.read_text()
        assert len(text) == before.st_size
        with old.path.open("r+") as file:  # in place
            file.write(text)
        os.utime(old.path, ns=(before.st_atime_ns, before.st_mtime_ns))

        hang_up(server)

        async def is_known() -> bool:
            return await answers(server.address, "zart_token-of-new")

        await eventually(is_known)
        assert not await answers(server.address, "zart_token-of-old")
        assert server.stop() == 0


def test_a_gateway_goes_on(zart_server: ServerUnderTest, tmp_path: Path) -> None:
    http_ = Http(f"127.0.0.1:{free_port()}")

    def is_up() -> bool:
        with contextlib.suppress(OSError):
            return http_.get("/readyz").status == 200
        return False

    arguments = ("gateway", "--listen", http_.address, "--address", zart_server.address)
    with zart_process(tmp_path, *arguments) as gateway:
        block_until(is_up)
        gateway.send_signal(signal.SIGHUP)
        assert http_.get("/readyz").status == 200
        gateway.terminate()
        assert gateway.wait(GIVE_UP) == 0


@pytest.mark.filterwarnings("default")
def test_a_dispatcher_goes_on(zart_server: ServerUnderTest, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(NOOP)
    arguments = ("--address", zart_server.address, "dispatch", "work")
    with (
        zart_process(tmp_path, *arguments) as dispatcher,
        zart.connect_sync(zart_server.address) as client,
    ):

        def is_registered() -> bool:
            with contextlib.suppress(zart.ZartError):
                client.start("noop", execution_id="before")
                return True
            return False

        block_until(is_registered)
        assert client.handle("before").result(timeout=GIVE_UP) == 1
        dispatcher.send_signal(signal.SIGHUP)
        assert client.start("noop", execution_id="after").result(timeout=GIVE_UP) == 1
        dispatcher.terminate()
        assert dispatcher.wait(GIVE_UP) == 0


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_what_listens_ends_once_its_terminal_is_closed(
    zart_server: ServerUnderTest, tmp_path: Path, command: str
) -> None:
    host, port = "127.0.0.1", free_port()
    more = {
        "serve": ("--database-url", zart_server.database_url),
        "gateway": ("--address", zart_server.address),
    }
    person, terminal = pty.openpty()
    arguments = (command, "--listen", f"{host}:{port}", *more[command])
    with zart_process(tmp_path, *arguments, terminal=terminal) as process:
        os.close(terminal)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, port)) == 0

        block_until(listens)
        os.close(person)
        assert process.wait(GIVE_UP) == 0


def test_a_dispatcher_ends_once_its_terminal_is_closed(
    zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    (tmp_path / "work.py").write_text(NOOP)
    person, terminal = pty.openpty()
    arguments = ("--address", zart_server.address, "dispatch", "work")
    with (
        zart.connect_sync(zart_server.address) as client,
        zart_process(tmp_path, *arguments, terminal=terminal) as process,
    ):
        os.close(terminal)
        block_until(lambda: list(client.list_task_definitions()))
        os.close(person)
        assert process.wait(GIVE_UP) == 0


def test_what_began_in_the_background_goes_on(zart_server: ServerUnderTest, tmp_path: Path) -> None:
    """Its terminal is closed, of which no shell tells it; SIGHUP comes later, for its files."""
    person, terminal = pty.openpty()
    log = tmp_path / "log"
    listen = ("serve", "--listen", "127.0.0.1:0", "--database-url", zart_server.database_url)
    with (
        log.open("wb") as output,
        zart_process(tmp_path, *listen, stdin=terminal, stderr=output) as process,
    ):
        os.close(terminal)

        def said(text: str) -> bool:
            return process.poll() is not None or text in log.read_text()

        block_until(lambda: said("zart serves on"))
        os.close(person)
        process.send_signal(signal.SIGHUP)
        block_until(lambda: said("are read anew"))
        assert process.poll() is None
        process.terminate()
        assert process.wait(GIVE_UP) == 0
