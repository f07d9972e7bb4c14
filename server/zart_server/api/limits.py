"""How many calls a server takes at once: those that wait by design, and all others, apart.

So neither can crowd out the other: a fleet of long polls and watches leaves room for what is
answered at once. One call too many is told at once to go to another server.
"""

from __future__ import annotations

import asyncio
import math

from zart_server.domain.errors import ServerBusy

_WAITING = frozenset({
    "/zart.v1.DispatchService/LeaseTasks",
    "/zart.v1.DispatchService/DispatchTasks",
    "/zart.v1.ExecutionService/WatchExecution",
    "/zart.v1.ExecutionService/RunExecution",
    "/zart.v1.AdminService/WatchPauseRule",
    "/zart.v1.BatchService/WatchBatch",
    "/zart.v1.AdminService/VerifyPauseRule",  # for its turn, most of all
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
})  # fmt: skip
MOST_NOTICES = 5
_UNCOUNTED = "/grpc.health.v1.Health/Check"  # a busy server is not a dead one


def is_waiting(method: str) -> bool:
    """Return whether calls of a method wait by design."""
    return method in _WAITING


class Room:
    """Room for calls of one sort."""

    def __init__(self, limit: float) -> None:
        self._left = limit
        self.inside = 0
        self.routed = 0  # calls so far that were sent here, not to another server

    def enter(self, *, is_routed: bool = True) -> None:
        """Take a place. Raises ServerBusy. What comes within a stream is not routed by itself."""
        if self._left <= 0:
            raise ServerBusy
        self._left -= 1
        self.inside += 1
        self.routed += is_routed

    def leave(self) -> None:
        """Return the place back."""
        self._left += 1
        self.inside -= 1


class Limits:
    """The rooms of one server."""

    def __init__(self, calls: int, waiting_calls: int) -> None:
        self._calls = Room(calls)
        self._waiting = Room(waiting_calls)
        self._by_method = dict.fromkeys(_WAITING, self._waiting) | {_UNCOUNTED: Room(math.inf)}

    def inside(self) -> dict[str, int]:
        """Return how many calls are under way: those that wait by design, and all others."""
        return {"waiting": self._waiting.inside, "call": self._calls.inside}

    async def until_quiet(self, notice: float) -> None:
        """Wait until no call has come in for ``notice`` seconds; for five times that at most.

        For a server that stops, once it has said so: whoever still calls has not been told yet, and
        gRPC cancels what comes in at the very moment of the stop, so that its outcome is unknown.
        Calls that wait by design are not counted: they end by themselves, and are repeated. Nor is
        what comes within a stream, which is told where to go once this is over.
        """
        for _ in range(MOST_NOTICES):
            before = self._calls.routed
            await asyncio.sleep(notice)
            if self._calls.routed == before:
                return

    def room_for(self, method: str) -> Room:
        """Return where a call has to find a place."""
        return self._by_method.get(method, self._calls)
