"""A stamp of files, which changes when they are replaced or written to."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]


def stamp_of(*paths: Path) -> Stamp:
    """Return what changes with the files; follows links, which is how secrets are often mounted."""
    return tuple(_of(path) for path in paths)


def _of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:  # gone for a moment, or for good: reading it says so
        return None
    # A change of owner or mode, or a copy that keeps the time, changes st_ctime_ns only.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
