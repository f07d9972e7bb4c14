"""Computing that takes long, while a connection is held: in slices, so that all others go on.

PostgreSQL ends a transaction that is silent for two seconds (``store.sessions``), and on a busy
machine ten thousand rules and as many names take longer. A rest that only the event loop hears of
would not do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from zart_server.store.connection import Connection

T = TypeVar("T")
R = TypeVar("R")
_SLICE = 0.02  # seconds


class Slices:
    """Tells when a slice is over, and has PostgreSQL and the others hear of that.

    What is at hand of the database may be newer after each rest.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._until = time.monotonic() + _SLICE

    @property
    def is_over(self) -> bool:
        """Whether this slice has had its time: then ``rest`` is to be awaited."""
        return time.monotonic() > self._until

    async def rest(self) -> None:
        """Have PostgreSQL hear of the connection, and begin the next slice with its answer."""
        await self._connection.give_sign()
        self._until = time.monotonic() + _SLICE


async def in_slices(
    connection: Connection, items: Iterable[T], compute: Callable[[T], R]
) -> list[R]:
    """Compute something of each item, none of which takes long by itself."""
    slices, found = Slices(connection), []
    for item in items:
        found.append(compute(item))
        if slices.is_over:
            await slices.rest()
    return found
