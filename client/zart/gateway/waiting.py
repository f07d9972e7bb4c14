"""The connections that have no whole request: how many of them there may be, and for how long.

Whoever sends half a request has nobody to wait for: so these connections take no place among the
calls. Their own places are the address's first: where it has too many, the one that has waited
longest makes room, so that whoever sends a whole request at once is served all the same. Who has
had an answer and sends nothing, as a proxy that keeps its connections, may do so for longer than
anybody who has begun, and makes room first.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from typing import Protocol

from zart.loopback import is_loopback

# Bytes of a body in a second that are worth waiting for.
SLOWEST = 64 * 1024
# Seconds that a connection may have no request after an answer. Load balancers keep theirs for 60,
# as a rule, and they have to be the first to close one: else a request meets a closing connection.
KEPT_FOR = 75


class Waits(Protocol):
    """A connection that may be told to wait no longer."""

    address: str

    def give_up(self, *, is_late: bool) -> None:
        """Answer that it was too slow, or one too many, and close it."""


class _OfAddress:
    """The waiting connections of one address, with their timers, the longest waiting one first.

    ``kept`` are those that had an answer and sent nothing since, ``begun`` all others.
    """

    def __init__(self) -> None:
        self.kept: dict[Waits, asyncio.TimerHandle] = {}
        self.begun: dict[Waits, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self.kept) + len(self.begun)

    def make_room(self) -> None:
        next(iter(self.kept or self.begun)).give_up(is_late=False)


class Waiting:
    """The waiting connections of one gateway.

    ``patience`` is how many seconds a head may take, and a body beyond what its size allows;
    ``at_most`` how many may wait, and ``of_an_address`` how many of one address, unless it is this
    machine's own, where a proxy may be. ``kept_for``: seconds for those that had an answer.
    """

    def __init__(self, patience: float, at_most: int, of_an_address: int, kept_for: float) -> None:
        self.patience = patience
        self._kept_for = kept_for
        self._at_most = at_most
        self._of_an_address = of_an_address
        self._count = 0
        self._waiting: dict[str, _OfAddress] = defaultdict(_OfAddress)

    def begin(self, connection: Waits) -> None:
        """Wait for a head or a body, from now on."""
        self._add(connection, self.patience, is_kept=False)

    def keep(self, connection: Waits) -> None:
        """Wait for another request, of which nothing is there.

        uvicorn ends that, too, but not where the rest of a body comes after its answer.
        """
        self._add(connection, self._kept_for, is_kept=True)

    def _add(self, connection: Waits, seconds: float, *, is_kept: bool) -> None:
        self.end(connection)
        address = connection.address
        late = functools.partial(connection.give_up, is_late=True)
        timer = asyncio.get_running_loop().call_later(seconds, late)
        of_address = self._waiting[address]
        (of_address.kept if is_kept else of_address.begun)[connection] = timer
        self._count += 1
        if len(of_address) > self._of_an_address and not is_loopback(address):
            of_address.make_room()
        elif self._count > self._at_most:
            max(self._waiting.values(), key=len).make_room()

    def progress(self, connection: Waits, received: int) -> None:
        """Wait as much longer as so many bytes are worth."""
        timers = self._waiting[connection.address].begun
        timer = timers[connection]
        timer.cancel()
        late = functools.partial(connection.give_up, is_late=True)
        until = timer.when() + received / SLOWEST
        timers[connection] = asyncio.get_running_loop().call_at(until, late)

    def end(self, connection: Waits) -> None:
        """Wait no longer: the request is whole, or the connection is closed."""
        of_address = self._waiting[connection.address]
        before = len(of_address)
        for waiting in (of_address.kept, of_address.begun):
            timer = waiting.pop(connection, None)
            if timer is not None:
                timer.cancel()
        self._count -= before - len(of_address)
        if not of_address:
            del self._waiting[connection.address]
