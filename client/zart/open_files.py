"""How many files, connections among them, a process that is called by many may have open."""

from __future__ import annotations

import contextlib
import logging

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module elsewhere

_FEW = 4096
_MOST_OF_MACOS = 10_240  # whatever it says is its limit
_log = logging.getLogger(__name__)


def allow_many_files() -> None:
    """Raise this process's limit of open files as far as it may, and warn where that is not far.

    Each connection is one, a stranger's, too: once none is left nobody can connect.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in (hard, _MOST_OF_MACOS):
        with contextlib.suppress(ValueError, OSError):
            if soft != hard and (number == hard or soft < number):
                resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
                break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW:
        _log.warning(
            "only %d files may be open, and each connection is one: raise the limit (ulimit -n)"
            " to %d or more",
            soft,
            _FEW,
        )
