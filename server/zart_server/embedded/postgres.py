"""One PostgreSQL on one data folder: made, started on loopback, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import logging
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
    cannot_use,
    environment,
    hand_over,
    last_line,
    passage,
    program,
    run_program,
)
from zart_server.embedded.set_up import DATABASE, SUPERUSER, USER, set_up

__all__ = ["Postgres", "PostgresError", "running"]

_log = logging.getLogger(__name__)
_START = 60.0  # seconds
_SOON = 3.0  # seconds; what takes longer is told
_STOP = 4.0
_POLL = 0.02
_REJECTS = 1  # what pg_isready ends with where PostgreSQL is there, and takes no connections yet
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
        stale = _await_predecessor(folder)
        options = [*(() if durable else _NOT_DURABLE), *settings]
        set_up(folder, options, attributes, stale)
        with passage(data) as (name, descriptor):
            postgres = _start(folder, name, descriptor, port or free_port(), options, stale)
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


def _await_predecessor(folder: Path) -> int:
    """Wait for a PostgreSQL whose parent was killed: it is on its way out.

    Returns the process that has its number by now and nothing to do with it, as after a loss of
    power; 0: there is none. Raises PostgresError where it does not end.
    """
    begun = time.monotonic()
    while pid := _noted(folder / "data" / "postmaster.pid"):
        is_ours = _uses(pid, folder)
        if is_ours is False:
            return pid
        waited = time.monotonic() - begun
        if is_ours and waited > _START:
            raise PostgresError(
                f"a PostgreSQL (pid {pid}) still stops in {folder}: try again once it has ended"
            )
        if is_ours is None and waited > _STOP:
            break  # PostgreSQL says what it thinks of it
        time.sleep(_POLL)
    return 0


def _noted(pid_file: Path) -> int:
    """Return the process that is noted to use the data, if one of this number runs; else 0."""
    try:
        pid = abs(int(pid_file.read_text().split()[0]))  # below 0 in single-user mode
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError, OverflowError):
        return 0
    return pid


def _uses(pid: int, folder: Path) -> bool | None:
    """Return whether a process is a PostgreSQL of this folder; None: nobody can tell."""
    process = Path("/proc") / str(pid)
    try:
        said = (process / "cmdline").read_bytes()
    except OSError:  # there is no /proc, or it has just ended
        return None
    if os.fsencode(_mark(folder)) in said.split(b"\0"):
        return True
    with contextlib.suppress(OSError):  # somebody else's
        return b"postgres" in said and (process / "cwd").samefile(folder / "data")
    return False


def _mark(folder: Path) -> str:
    """Return the setting by which whoever lists processes knows whose a PostgreSQL is."""
    return f"zart.folder={folder}"


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
    folder: Path, data: str, descriptor: int, port: int, settings: Sequence[str], stale: int = 0
) -> Postgres:
    log = folder / "log"
    options = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "log_timezone=UTC",
        "timezone=UTC",
        _mark(folder),
        *settings,
    ]
    flags = [part for option in options for part in ("-c", option)]
    log.unlink(missing_ok=True)  # it quotes statements, with what is in them: for us alone
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the wheel's own program
            program("postgres", "-D", data, "-p", str(port), *flags),
            env=environment(stale),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[descriptor],
            # Ctrl-C reaches the whole group: PostgreSQL stops after those who use it.
            start_new_session=True,
        )
    password = (folder / "password").read_text()
    at = f"{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
    # On loopback, and built without TLS, whatever PGSSLMODE says of other databases.
    postgres = Postgres(f"postgresql://{at}?sslmode=disable", process)
    try:
        _await_ready(process, port, folder / "data", log)
    except BaseException:
        postgres.stop()
        raise
    return postgres


def _await_ready(process: subprocess.Popen[bytes], port: int, data: Path, log: Path) -> None:
    """Wait until PostgreSQL takes connections. Raises PostgresError where it ends, or is silent.

    While it says that it is not ready it recovers, after a crash, for as long as that takes: cut
    off, it would begin anew the next time, and never be done.
    """
    ready = [str(binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    ready += ["-U", USER, "-d", DATABASE]  # else it looks for our name, and we may have none
    begun, told = time.monotonic(), False
    deadline = begun + _START
    while said := subprocess.run(ready, env=environment(), check=False).returncode:  # noqa: S603 - PostgreSQL's own program
        if process.poll() is not None:
            raise cannot_use(data, last_line(log.read_text(errors="replace")), log)
        if said == _REJECTS:
            deadline = time.monotonic() + _START
            if not told and time.monotonic() > begun + _SOON:
                _log.warning(
                    "PostgreSQL recovers what was under way when it was cut off: see %s", log
                )
                told = True
        elif time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL was not ready after {_START:g} s: see {log}")
        time.sleep(_POLL)


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
