"""Who a caller says it is, where it does not say."""

from __future__ import annotations

import getpass
import os
import socket


def default_caller() -> str:
    """Return ``ZART_TRIGGERED_BY``, or user@host."""
    return os.environ.get("ZART_TRIGGERED_BY") or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a passwd entry, as in containers
        return f"uid-{os.getuid()}"
