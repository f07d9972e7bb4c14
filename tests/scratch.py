"""A folder in memory for data that nobody keeps, where a machine has the room."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's, and the folder in it is ours alone
_ROOM = 4 << 30  # bytes that are free: several workers use some hundred MiB each
_NAME = "zart-tests-"


@contextlib.contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """Give a folder in memory, removed afterwards; ``otherwise`` where there is too little room."""
    if _room() < _ROOM:
        yield otherwise
        return
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-", dir=_MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _room() -> int:
    """Return the bytes of memory that files may take here."""
    try:
        said = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(said["MemAvailable"].split()[0]) << 10
        return min(shutil.disk_usage(_MEMORY).free, available)
    except (OSError, KeyError):  # not Linux
        return 0


def _remove_leftovers() -> None:
    """Give back what tests that were killed have left."""
    for folder in _MEMORY.glob(f"{_NAME}*"):
        pid = int(folder.name.removeprefix(_NAME).split("-")[0])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:  # it runs, as somebody else
            continue
