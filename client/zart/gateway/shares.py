"""What requests may take of the gateway at once: calls, bytes of bodies, and time to read them."""

from __future__ import annotations

from collections import Counter

from google.rpc import code_pb2

from zart.gateway.statuses import Refusal, refusal, retry_in
from zart.loopback import is_loopback

# What a body counts at most while it is read, or waits for that: signs in its texts count as parts.
_MOST_READ = 32 * 1024 * 1024
_READ = 8 * _MOST_READ


class Shares:
    """So much of something, of which one address has at most half, unless it is this machine's."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._by_address: Counter[str] = Counter()

    def take(self, address: str, amount: int = 1) -> None:
        """Take some. Raises Refusal."""
        taken = self._by_address[address] + amount
        is_greedy = 2 * taken > max(self._size, 2) and not is_loopback(address)
        if self._taken + amount > self._size or is_greedy:
            raise _busy()
        self._by_address[address] = taken
        self._taken += amount

    def give_back(self, address: str, amount: int = 1) -> None:
        """Return some back."""
        self._taken -= amount
        self._by_address[address] -= amount
        if not self._by_address[address]:
            del self._by_address[address]


class Room:
    """The room of one gateway: for calls, and for bodies that are not whole yet or not sent on.

    ``readings`` is for the large ones that are made messages, one after the other: each counts by
    how long that takes, as bytes, so that eight take all of it, or thousands that are hardly large.
    """

    def __init__(self, calls: int, body_bytes: int) -> None:
        self.calls = Shares(calls)
        self.bodies = Shares(body_bytes)
        self.readings = Shares(_READ)


class Taken:
    """What one request takes; all of it is given back at its end."""

    def __init__(self, room: Room, address: str) -> None:
        self._room = room
        self._address = address
        self._calls = 0
        self._bytes = 0
        self._reading = 0

    def add_bytes(self, amount: int) -> None:
        """Keep bytes of a body, if there are any. Raises Refusal."""
        if not amount:  # nothing is given back of it, and so the address would be kept for ever
            return
        self._room.bodies.take(self._address, amount)
        self._bytes += amount

    def begin_reading(self, size: int) -> None:
        """Take a place among the large bodies that are read. Raises Refusal."""
        amount = min(size, _MOST_READ)
        self._room.readings.take(self._address, amount)
        self._reading += amount

    def end_reading(self) -> None:
        """Return the place."""
        if self._reading:
            self._room.readings.give_back(self._address, self._reading)
            self._reading = 0

    def begin_call(self) -> None:
        """Take a place among the calls. Raises Refusal."""
        self._room.calls.take(self._address)
        self._calls += 1

    def drop_bytes(self) -> None:
        """Keep no body any longer."""
        if self._bytes:
            self._room.bodies.give_back(self._address, self._bytes)
            self._bytes = 0

    def end(self) -> None:
        """Return everything back."""
        self.drop_bytes()
        self.end_reading()
        if self._calls:
            self._room.calls.give_back(self._address, self._calls)
            self._calls = 0


def _busy() -> Refusal:
    message = "too many requests are under way"
    return refusal(code_pb2.UNAVAILABLE, message, retry_in(1), reason="SERVER_BUSY")
