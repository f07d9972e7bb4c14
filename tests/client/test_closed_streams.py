"""The command where the shell has closed its standard streams, as some that run programs do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from ports import free_port
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest

ZART = f"{sys.executable} -m zart.cli"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list <&-", 0),
        ("list >&-", 0),
        ("list -o json <&- >&-", 0),
        ("list <&- >&- 2>&-", 0),
        ("pause --everything --reason x --yes <&-", 0),
        ("pause --everything --reason x <&- >&-", 0),  # nobody is asked who is not there
        ("no-such-command >&-", 2),
        ("no-such-command 2>&-", 2),
    ],
)
def test_a_command_does_what_it_does(zart_server: ServerUnderTest, line: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{ZART} {line}"],
        env={**os.environ, "ZART_ADDRESS": zart_server.address},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr


def test_a_server_serves(zart_database: str, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {ZART} serve --listen {address} <&- >&-"],
            env={**os.environ, "ZART_DATABASE_URL": zart_database},
            stderr=log,
        )
    try:
        with zart.connect_sync(address, timeout=GIVE_UP) as client:
            grpc.channel_ready_future(client.channel).result(timeout=GIVE_UP)
            assert list(client.list_executions()) == []
        server.send_signal(signal.SIGTERM)
        assert server.wait(GIVE_UP) == 0
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
