"""The command where the shell has closed its standard streams, as some that run programs do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.serve_process import ServeProcess
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
    log = tmp_path / "log"
    server = ServeProcess(zart_database, log, under=["bash", "-c", 'exec "$@" <&- >&-', "bash"])
    server.start()
    try:
        server.until_listening()
        with zart.connect_sync(server.address, timeout=GIVE_UP) as client:
            assert list(client.list_executions()) == []
        assert server.stop() == 0
    finally:
        if server.is_running:
            server.stop(signal.SIGKILL)
    assert "Traceback" not in log.read_text()
