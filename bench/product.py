"""The product under measurement: a real PostgreSQL, servers and dispatchers as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

import zart
from bench.noop import TASKS
from zart_server.embedded import postgres
from zart_server.embedded.programs import binaries

_TICKS = os.sysconf("SC_CLK_TCK")
_START = 30.0  # seconds
_PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).parents[1]


def await_listening(port: int, gone: Callable[[], bool] = lambda: False) -> None:
    """Wait until somebody accepts connections on a port of loopback."""
    until = time.monotonic() + _START
    while time.monotonic() < until and not gone():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # a process that is starting tells nobody when it listens
    raise RuntimeError(f"nothing listens on port {port}")


def postgres_version() -> str:
    """Return the version of the PostgreSQL that is measured, the embedded one."""
    program = binaries() / "postgres"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


@dataclass
class Process:
    """A server or a dispatcher, and what it has used."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_of(self.popen.pid)

    @property
    def rss(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * _PAGE

    def stop(self) -> None:
        """End it; what it said is shown where it went wrong."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.returncode not in (0, -signal.SIGTERM):
            sys.stderr.write(f"{self.name} ended with {self.popen.returncode}\n")
            sys.stderr.write(self.log.read_text()[-2000:])


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Product:
    """One PostgreSQL with a database, and whatever runs on it."""

    folder: Path
    url: str
    postgres_pid: int
    addresses: list[str] = field(default_factory=list)
    servers: list[Process] = field(default_factory=list)
    dispatchers: list[Process] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the first server listens."""
        return self.addresses[0]

    def serve(self, python: Sequence[str] = (), **settings: str) -> Process:
        """Start one more server, with options for Python, and wait until it answers."""
        port = postgres.free_port()
        address = f"127.0.0.1:{port}"
        process = self._start(
            f"server{len(self.servers)}",
            *python, "-m", "zart.cli", "serve", "--listen", address,
            ZART_DATABASE_URL=self.url, ZART_LOG_LEVEL="warning", **settings,
        )  # fmt: skip
        self.servers.append(process)
        self.addresses.append(address)
        try:
            await_listening(port, lambda: process.popen.poll() is not None)
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {process.log.read_text()[-2000:]}") from None
        return process

    def dispatch(
        self,
        concurrency: int,
        address: str | None = None,
        python: Sequence[str] = (),
        tasks: str = "bench.noop",
    ) -> Process:
        """Start one more dispatcher with the no-op tasks, or one of them."""
        process = self._start(
            f"dispatcher{len(self.dispatchers)}",
            *python, "-m", "zart.cli", "dispatch", tasks, "--concurrency", str(concurrency),
            ZART_ADDRESS=address or self.address,
        )  # fmt: skip
        self.dispatchers.append(process)
        return process

    def stop_dispatchers(self) -> None:
        """End all dispatchers."""
        while self.dispatchers:
            self.dispatchers.pop().stop()

    def stop(self) -> None:
        """End everything but PostgreSQL."""
        self.stop_dispatchers()
        while self.servers:
            self.servers.pop().stop()
            self.addresses.pop()

    @property
    def postgres_cpu(self) -> float:
        """CPU seconds of PostgreSQL's living processes and of those it has waited for."""
        total = 0.0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(entry.name) == self.postgres_pid:
                    total += sum(map(int, fields[11:15])) / _TICKS
                elif int(fields[1]) == self.postgres_pid:
                    total += (int(fields[11]) + int(fields[12])) / _TICKS
        return total

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[zart.Client]:
        """Connect a client to the first server."""
        async with zart.connect(self.address, timeout=120, triggered_by="bench") as client:
            yield client

    @contextlib.asynccontextmanager
    async def db(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Connect to the database."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    def _start(self, name: str, *arguments: str, **environment: str) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT, env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        return Process(name, popen, log)


@contextlib.contextmanager
def product(*settings: str) -> Iterator[Product]:
    """Run an empty PostgreSQL with default durability in a folder that is removed afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="zart-bench-", ignore_cleanup_errors=True) as name,
        # What loads histories sets what a superuser may only.
        postgres.running(
            Path(name) / "postgres", settings=settings, attributes=["SUPERUSER"]
        ) as database,
    ):
        pid = int((Path(name) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        made = Product(Path(name), database.url, pid)
        try:
            yield made
        finally:
            made.stop()


async def registered(client: zart.Client) -> None:
    """Register the no-op tasks, so that work can be queued before a dispatcher runs."""
    for task in TASKS:
        await client.register_task(task.name, task.specs)


async def started(client: zart.Client, count: int, task: str = "noop3", first: int = 0) -> None:
    """Start executions named ``<task>-<number>``, a thousand a call."""
    for begin in range(first, first + count, 1000):
        end = min(begin + 1000, first + count)
        results = await client.batch_start_executions(
            [zart.Start(task, None, f"{task}-{n}") for n in range(begin, end)]
        )
        bad = [result for result in results if isinstance(result, Exception)]
        if bad:
            raise bad[0]


async def finished(client: zart.Client, within: float = 300.0) -> None:
    """Wait until no execution is unfinished. Asks seldom: what asks costs what it measures."""
    until = time.monotonic() + within
    unfinished = [zart.RunStatus.SCHEDULED, zart.RunStatus.RUNNING]
    while True:
        async for _page in client.list_executions(statuses=unfinished, page_size=1).pages():
            if not _page.items:
                return
            break
        if time.monotonic() > until:
            raise RuntimeError(f"executions are unfinished after {within:g} s")
        await asyncio.sleep(0.2)
