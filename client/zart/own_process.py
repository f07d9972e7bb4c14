"""Keeps a client to the process that made it.

gRPC does not support forks: its threads are not in the child, which shares their connections and
may have their locks for ever. A call there may work, or hang beyond its own deadline. So may our
own locks hang.
"""

from __future__ import annotations

import os
from typing import Generic, TypeVar

C = TypeVar("C")


class OfOneProcess(Generic[C]):
    """Holds a channel for the process that opened it."""

    def __init__(self, channel: C) -> None:
        self._channel = channel
        self._process_id = os.getpid()

    @property
    def channel(self) -> C:
        """The channel. Raises RuntimeError in a process that was forked since."""
        self._check_process()
        return self._channel

    def _check_process(self) -> None:
        if self._is_forked():
            raise RuntimeError("this client is of another process: make one after the fork")

    def _is_forked(self) -> bool:
        return os.getpid() != self._process_id
