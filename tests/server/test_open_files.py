"""Connections without a call are nobody's harm: there is room for many, and they are ended."""

from __future__ import annotations

import contextlib
import resource
import socket
from pathlib import Path

import pytest
from acceptance.serve_process import ServeProcess
from half_messages import HalfCalls
from waiting import GIVE_UP, until

import zart
from zart.testing.server import serving
from zart_server import grpc_options

SOFT = 200  # files that may be open unless more are asked for
MANY = 300  # connections
FEW = "files may be open"


def under(limit: str) -> list[str]:
    """Return what runs a program under a limit of open files, as 'ulimit' says it."""
    return ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh"]


def test_strangers_that_say_nothing_leave_room_for_callers(
    zart_database: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    server = ServeProcess(zart_database, log, under=under(f"-Sn {SOFT}"))
    server.start()
    try:
        server.until_listening()
        assert server._process is not None
        soft, hard = resource.prlimit(server._process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard
        with contextlib.ExitStack() as held:
            for _ in range(MANY):
                address = ("127.0.0.1", server.port)
                held.enter_context(socket.create_connection(address, timeout=GIVE_UP))
            with zart.connect_sync(server.address) as client:
                assert list(client.list_executions()) == []
        assert FEW not in log.read_text()
    finally:
        server.stop()


def test_a_limit_that_cannot_be_raised_is_warned_of(zart_database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = ServeProcess(zart_database, log, under=under("-n 1000"))
    server.start()
    try:
        server.until_listening()
        assert f"only 1000 {FEW}" in log.read_text()
    finally:
        server.stop()


async def test_a_connection_without_a_call_is_ended_and_made_anew(
    zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_options, "_IDLE", 0.2)
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client, HalfCalls(server.address) as stranger:
            assert await client.list_executions() == []
            await until(lambda: stranger.is_over)
            assert await client.list_executions() == []
