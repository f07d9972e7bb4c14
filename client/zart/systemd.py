"""What systemd is told of a process: that it is ready, goes on, and stops (sd_notify).

Only where systemd asks: it sets ``NOTIFY_SOCKET`` for a unit with ``Type=notify``, and
``WATCHDOG_USEC`` for one with ``WatchdogSec=``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping

_log = logging.getLogger(__name__)
_PER_TERM = 2  # signs of life within the time after which systemd gives a process up


def ready() -> None:
    """Say that the process does its work from now on."""
    _tell("READY=1")


def stopping() -> None:
    """Say that the process has begun to stop."""
    _tell("STOPPING=1")


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[None]:
    """Say as often as systemd wants that the event loop goes on, until the context is left."""
    interval = _watchdog_interval(os.environ)
    if interval is None:
        yield
        return
    saying = asyncio.create_task(_say_alive(interval), name="systemd watchdog")
    try:
        yield
    finally:
        saying.cancel()


async def _say_alive(interval: float) -> None:
    while True:
        _tell("WATCHDOG=1")
        await asyncio.sleep(interval)


def term() -> float | None:
    """Return after how many seconds of silence systemd ends this process; None: it does not."""
    interval = _watchdog_interval(os.environ)
    return None if interval is None else interval * _PER_TERM


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Return the seconds between two signs of life; None: this process is not asked for any."""
    wanted = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID") not in (None, str(os.getpid())) or not wanted.isdecimal():
        return None
    return int(wanted) / 1_000_000 / _PER_TERM or None


def _tell(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path.startswith("@"):  # a name in the abstract namespace
        path = "\0" + path[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(0)  # the event loop waits for nobody who reads nothing
            to.connect(path)
            to.sendall(state.encode())
    except OSError as error:
        _log.warning("systemd could not be told %s: %s", state, error.strerror)
