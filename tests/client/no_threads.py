"""A process at its limit of threads: the system itself refuses to start one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STACK = 1 << 62  # bytes, which no address space has


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Let no thread of Python's be started meanwhile; those that run go on."""
    before = threading.stack_size(_STACK)
    try:
        yield
    finally:
        threading.stack_size(before)
