"""One PostgreSQL on one data folder: made, started on loopback, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zart_server.embedded.programs import (
    PostgresError,
    binaries,
    environment,
    hand_over,
    last_line,
    passage,
    program,
    run_program,
)
from zart_server.embedded.set_up import DATABASE, SUPERUSER, USER, set_up

__all__ = ["Postgres", "PostgresError", "running"]

_START = 60.0  # seconds: recovery after a crash may take a while
_STOP = 4.0
_POLL = 0.02
# Tests throw their data away: nothing needs to reach the disk.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


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
    folder: Path,
    *,
    port: int = 0,
    durable: bool = True,
    settings: Sequence[str] = (),
    attributes: Sequence[str] = (),
) -> Iterator[Postgres]:
    """Run PostgreSQL on ``folder``, which is made at the first time, until the context is left.

    It listens on ``port`` of loopback, 0 takes a free one. The role of the URL owns its database
    and is no superuser; ``attributes`` are what it may besides, such as CREATEDB. Raises
    PostgresError.
    """
    folder = folder.resolve()
    with _locked(folder):
        data = folder / "data"
        if not data.exists():
            _initialize(folder, data)
        _await_predecessor(data)
        options = [*(() if durable else _NOT_DURABLE), *settings]
        set_up(folder, options, attributes)
        with passage(data) as (name, descriptor):
            postgres = _start(folder, name, descriptor, port or _free_port(), options)
            try:
                yield postgres
            finally:
                postgres.stop()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder: two servers on one folder would damage it."""
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


def _initialize(folder: Path, data: Path) -> None:
    """Make the data folder on the side, so that a half-made one is never taken for whole."""
    side = folder / "data.new"
    shutil.rmtree(side, ignore_errors=True)
    side.mkdir(mode=0o700)
    hand_over(side)
    for rest in ("set-up", "database-made"):  # of a data folder that was moved away
        (folder / rest).unlink(missing_ok=True)
    with passage(side) as (name, descriptor):
        done = run_program(
            "initdb",
            f"--pgdata={name}",
            f"--username={SUPERUSER}",
            "--auth-local=reject",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            data=descriptor,
        )
    if done.returncode != 0:
        raise PostgresError(f"PostgreSQL cannot make {data}: {_why_not_made(done.stderr)}")
    side.rename(data)


def _why_not_made(said: str) -> str:
    if "could not look up effective user ID" in said:
        return (
            f"the user {os.geteuid()} has no name here; give it a line in /etc/passwd,"
            " or set ZART_DATABASE_URL to a database of yours"
        )
    return last_line(said)


def _start(
    folder: Path, data: str, descriptor: int, port: int, settings: Sequence[str]
) -> Postgres:
    log = folder / "log"
    options = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "log_timezone=UTC",
        "timezone=UTC",
        f"zart.folder={folder}",  # so that whoever lists processes knows whose it is
        *settings,
    ]
    flags = [part for option in options for part in ("-c", option)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the wheel's own program
            program("postgres", "-D", data, "-p", str(port), *flags),
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[descriptor],
            # Ctrl-C reaches the whole group: PostgreSQL stops after those who use it.
            start_new_session=True,
        )
    password = (folder / "password").read_text()
    postgres = Postgres(f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}", process)
    try:
        _await_ready(process, port, folder / "data", log)
    except BaseException:
        postgres.stop()
        raise
    return postgres


def _await_ready(process: subprocess.Popen[bytes], port: int, data: Path, log: Path) -> None:
    ready = [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    ready += ["-U", USER, "-d", DATABASE]  # else it looks for our name, and we may have none
    deadline = time.monotonic() + _START
    while subprocess.run(ready, env=environment(), check=False).returncode != 0:  # noqa: S603
        if process.poll() is not None:
            raise PostgresError(
                f"PostgreSQL cannot use {data}: {last_line(log.read_text(errors='replace'))}."
                f" The whole log is {log}; move {data} away to begin anew"
            )
        if time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL was not ready after {_START:g} s: see {log}")
        time.sleep(_POLL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
