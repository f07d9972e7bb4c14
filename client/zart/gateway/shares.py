"""What requests may take of the gateway at once: calls, and bytes of bodies."""

from __future__ import annotations

from collections import Counter

from google.rpc import code_pb2

from zart.gateway.statuses import Refusal, refusal, retry_in
from zart.loopback import is_loopback


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
    """The room of one gateway: for calls, and for bodies that are not whole yet or not sent on."""

    def __init__(self, calls: int, body_bytes: int) -> None:
        self.calls = Shares(calls)
        self.bodies = Shares(body_bytes)


class Taken:
    """What one request takes; all of it is given back at its end."""

    def __init__(self, room: Room, address: str) -> None:
        self._room = room
        self._address = address
        self._calls = 0
        self._bytes = 0

    def add_bytes(self, amount: int) -> None:
        """Keep bytes of a body, if there are any. Raises Refusal."""
        if not amount:  # nothing is given back of it, and so the address would be kept for ever
            return
        self._room.bodies.take(self._address, amount)
        self._bytes += amount

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
        if self._calls:
            self._room.calls.give_back(self._address, self._calls)
            self._calls = 0


def _busy() -> Refusal:
    message = "too many requests are under way"
    return refusal(code_pb2.UNAVAILABLE, message, retry_in(1), reason="SERVER_BUSY")
