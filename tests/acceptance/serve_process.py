"""``zart serve`` as a process of its own, to be restarted under load."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ports import free_port
from waiting import GIVE_UP, block_until


class ServeProcess:
    """A server on one port, however often it is started."""

    def __init__(
        self, database_url: str, log: Path, *, under: Sequence[str] = (), **settings: str
    ) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ZART_")},
            **settings,
            "ZART_DATABASE_URL": database_url,
        }
        self._log = log
        self._under = under  # a program that runs it
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may take a moment until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._under, sys.executable, "-m", "zart.cli",
                    "serve", "--listen", self.address,
                ],
                env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip

    def until_listening(self) -> None:
        """Wait until it takes connections."""

        def takes_connections() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1),
            ):
                return True
            return False

        block_until(takes_connections)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(GIVE_UP)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang until the context is left, with all its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None


@contextlib.contextmanager
def serve_processes(
    count: int, database_url: str, folder: Path, **settings: str
) -> Iterator[list[ServeProcess]]:
    """Run so many servers on one database."""
    folder.mkdir(exist_ok=True)
    servers = [
        ServeProcess(database_url, folder / f"server-{n}.log", **settings) for n in range(count)
    ]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.until_listening()
        yield servers
    finally:
        for server in servers:
            if server.is_running:
                server.stop(signal.SIGKILL)
