"""Server, gateway and dispatcher as systemd runs them: ready, watched, asked for health, stopped."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from waiting import GIVE_UP

from zart import systemd
from zart.cli.main import main
from zart.testing.server import ServerUnderTest

ZART = (sys.executable, "-m", "zart.cli")
TASKS = """
import zart
order = zart.Task("order")

@order.step()
async def one(ctx: zart.StepContext) -> int:
    return 1
"""


class Manager:
    """What systemd listens on: a thread reads all that it is told, as systemd does."""

    def __init__(self, path: Path) -> None:
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        while said := self._socket.recv(4096):
            self._said.put(said.decode())

    def told(self) -> str:
        """Return the next thing that it was told."""
        return self._said.get(timeout=GIVE_UP)

    def told_all_until(self, last: str) -> set[str]:
        """Read until something is told, and return all that was."""
        seen = set()
        while last not in seen:
            seen.add(self.told())
        return seen

    def close(self) -> None:
        """Stop reading."""
        self._socket.shutdown(socket.SHUT_RD)
        self._reading.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """The socket of systemd, in a file named notify."""
    with contextlib.closing(Manager(tmp_path / "notify")) as listening:
        yield listening


@pytest.mark.parametrize("name", ["server", "gateway", "dispatcher"])
def test_a_process_tells_systemd_how_it_is_and_a_probe_whether_it_serves(
    name: str,
    manager: Manager,
    zart_server: ServerUnderTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "orders.py").write_text(TASKS)
    listen = f"127.0.0.1:{free_port()}"
    command, environment = {
        "server": (
            ("serve",),
            {"ZART_LISTEN": listen, "ZART_DATABASE_URL": zart_server.database_url},
        ),
        "gateway": (
            ("gateway",),
            {"ZART_GATEWAY_LISTEN": listen, "ZART_ADDRESS": zart_server.address},
        ),
        "dispatcher": (
            ("dispatch", "orders"),
            {"ZART_HEALTH_LISTEN": listen, "ZART_ADDRESS": zart_server.address},
        ),
    }[name]
    for key in [key for key in os.environ if key.startswith("ZART_")]:
        monkeypatch.delenv(key)
    # A sign of life each second: the socket keeps but a few while nobody reads, and loses others.
    asked = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    process = subprocess.Popen(
        [*ZART, *command],
        cwd=tmp_path,
        env={**os.environ, **environment, **asked},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert manager.told_all_until("READY=1") <= {"READY=1", "WATCHDOG=1"}
        assert manager.told() == manager.told() == "WATCHDOG=1"
        # As a probe beside the process asks, in its environment, which says where it listens.
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        assert main(["health", name, "--timeout", str(GIVE_UP)]) == 0
        assert capsys.readouterr().out == "SERVING\n"
        process.send_signal(signal.SIGTERM)
        assert manager.told_all_until("STOPPING=1") <= {"STOPPING=1", "WATCHDOG=1"}
        assert process.wait(GIVE_UP) == 0
    finally:
        process.kill()
        process.wait()


def test_a_name_in_the_abstract_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"zart-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(GIVE_UP)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.ready()

        assert listening.recv(100) == b"READY=1"


def test_nobody_there_is_a_line_in_the_log_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.ready()

    assert "READY=1" in caplog.text


async def test_who_is_not_asked_gives_no_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, manager: Manager, tmp_path: Path
) -> None:
    """WATCHDOG_USEC is inherited by children; WATCHDOG_PID says whom it is for."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    async with systemd.watched():
        systemd.stopping()

        assert manager.told() == "STOPPING=1"
