"""The connections that have no whole request: how many of them there may be, and for how long.

Whoever sends half a request has nobody to wait for: so these connections take no place among the
calls. Their own places are the address's first: where it has too many, the one that has waited
longest makes room, so that whoever sends a whole request at once is served all the same.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from typing import Protocol

from zart.loopback import is_loopback

# Bytes of a body in a second that are worth waiting for.
SLOWEST = 64 * 1024


class Waits(Protocol):
    """A connection that may be told to wait no longer."""

    address: str

    def give_up(self, *, is_late: bool) -> None:
        """Answer that it was too slow, or one too many, and close it."""


class Waiting:
    """The waiting connections of one gateway.

    ``patience`` is how many seconds a head may take, and a body beyond what its size allows;
    ``at_most`` how many may wait, and ``of_an_address`` how many of one address, unless it is this
    machine's own, where a proxy may be.
    """

    def __init__(self, patience: float, at_most: int, of_an_address: int) -> None:
        self.patience = patience
        self._at_most = at_most
        self._of_an_address = of_an_address
        self._count = 0
        # By address, the one that has waited longest first, each with its timer.
        self._timers: dict[str, dict[Waits, asyncio.TimerHandle]] = defaultdict(dict)

    def begin(self, connection: Waits) -> None:
        """Wait for a head or a body, from now on."""
        self.end(connection)
        late = functools.partial(connection.give_up, is_late=True)
        timer = asyncio.get_running_loop().call_later(self.patience, late)
        of_address = self._timers[connection.address]
        of_address[connection] = timer
        self._count += 1
        if len(of_address) > self._of_an_address and not is_loopback(connection.address):
            next(iter(of_address)).give_up(is_late=False)
        elif self._count > self._at_most:
            most = max(self._timers.values(), key=len)
            next(iter(most)).give_up(is_late=False)

    def progress(self, connection: Waits, received: int) -> None:
        """Wait as much longer as so many bytes are worth."""
        timers = self._timers[connection.address]
        timer = timers[connection]
        timer.cancel()
        late = functools.partial(connection.give_up, is_late=True)
        until = timer.when() + received / SLOWEST
        timers[connection] = asyncio.get_running_loop().call_at(until, late)

    def end(self, connection: Waits) -> None:
        """Wait no longer: the request is whole, or the connection is closed."""
        timer = self._timers[connection.address].pop(connection, None)
        if timer is not None:
            timer.cancel()
            self._count -= 1
        if not self._timers[connection.address]:
            del self._timers[connection.address]
