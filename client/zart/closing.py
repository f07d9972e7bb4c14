"""Closes a channel for plain code, though gRPC might wait for ever.

To close one, it waits until the channel's thread has told the end of each call on it. A call that
was broken off as it began has no thread: Ctrl-C came in that moment, or no thread could be started.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

import grpc

_log = logging.getLogger(__name__)
_WITHIN = 1.0  # seconds: far more than it takes where each call can end
_MOMENT = 0.05  # seconds


def close_channel(channel: grpc.Channel) -> None:
    """Close a channel, in a second at most; raises what that does.

    One that cannot be closed is left to the end of the process: it takes no more calls.
    """
    errors: list[Exception] = []
    closing = _begin(channel, errors.append)
    if closing is not None:
        closing.join(_WITHIN)
    if errors:
        raise errors[0]


def begin_to_close(channel: grpc.Channel) -> None:
    """Close a channel beside what the caller does; what that raises is logged."""
    _begin(channel, lambda error: _log.warning("a channel could not be closed: %r", error))


def _begin(channel: grpc.Channel, failed: Callable[[Exception], object]) -> threading.Thread | None:
    """Return the thread that closes a channel; None: it is closed, for none can be started."""

    def close() -> None:
        try:
            channel.close()
        except Exception as error:  # noqa: BLE001 - passed on
            failed(error)

    # At the end of the interpreter a new thread would not begin, and its start never return.
    deadline = 0.0 if sys.is_finalizing() else time.monotonic() + _WITHIN
    closing = threading.Thread(target=close, name="zart-closing", daemon=True)
    while time.monotonic() < deadline:
        try:
            closing.start()
        except RuntimeError:  # at the process's limit of threads, as perhaps the call was
            time.sleep(_MOMENT)
        else:
            return closing
    close()
    return None
