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
# What a dispatcher calls for as long as it has work, over the connection that it has.
_KEPT_UP = frozenset({
    "/zart.v1.DispatchService/ReportTasks",
    "/zart.v1.DispatchService/ExtendLeases",
    "/zart.v1.DispatchService/GetStepResults",
})  # fmt: skip
MOST_NOTICES = 5
_UNCOUNTED = "/grpc.health.v1.Health/Check"  # a busy server is not a dead one


def is_waiting(method: str) -> bool:
    """Return whether calls of a method wait by design."""
    return method in _WAITING


class CallLimit:
    """How many calls of one sort there may be at once: each takes a place, and gives it back."""

    def __init__(self, limit: float) -> None:
        self._left = limit
        self.inside = 0

    def enter(self) -> None:
        """Take a place. Raises ServerBusy."""
        if self._left <= 0:
            raise ServerBusy
        self._left -= 1
        self.inside += 1

    def leave(self) -> None:
        """Give the place back."""
        self._left += 1
        self.inside -= 1


class Limits:
    """The limits of one server."""

    def __init__(self, calls: int, waiting_calls: int) -> None:
        self._calls = CallLimit(calls)
        self._waiting = CallLimit(waiting_calls)
        self._routed = 0  # calls so far that somebody may have sent to another server
        self._by_method = dict.fromkeys(_WAITING, self._waiting) | {_UNCOUNTED: CallLimit(math.inf)}

    def inside(self) -> dict[str, int]:
        """Return how many calls are under way: those that wait by design, and all others."""
        return {"waiting": self._waiting.inside, "call": self._calls.inside}

    async def until_quiet(self, notice: float) -> None:
        """Wait until no call has come in for ``notice`` seconds; for five times that at most.

        For a server that stops, once it has said so: whoever still calls has not been told yet, and
        gRPC cancels what comes in at the very moment of the stop, so that its outcome is unknown.
        Not counted is what is repeated whatever becomes of it, and goes on until the connection
        ends: calls that wait by design, and what dispatchers tell of their work, each in a call or
        within a stream.
        """
        for _ in range(MOST_NOTICES):
            before = self._routed
            await asyncio.sleep(notice)
            if self._routed == before:
                return

    def enter(self, method: str, *, within_stream: bool = False) -> CallLimit:
        """Take a place for a call, and return where it is to give that back. Raises ServerBusy."""
        limit = self._by_method.get(method, self._calls)
        limit.enter()
        self._routed += limit is self._calls and not within_stream and method not in _KEPT_UP
        return limit
