"""Lines of a log that must not fail what they are about, however this process logs.

A program may have put its own factory, logger or filter into ``logging``: any may raise, and
logging itself does where a field of a line has a name that such a factory gave the line before.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Set as AbstractSet

from zart.tracebacks import locations_of

# What logging has on each line itself, and takes from no ``extra``: it raises KeyError.
_OF_LOGGING = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})


def names_taken() -> AbstractSet[str]:
    """Return the names that each line has by itself by now: a factory may have come meanwhile."""
    try:
        return _OF_LOGGING | vars(logging.makeLogRecord({})).keys()
    except Exception:  # noqa: BLE001 - of whatever makes this process's lines
        return _OF_LOGGING


def tell_unwritten(error: Exception) -> None:
    """Say on standard error why a line is not in the log, as logging itself does of some."""
    with contextlib.suppress(Exception):  # there may be none, or it is closed
        sys.stderr.write(f"zart: a line could not be logged: {locations_of(error)}\n")
