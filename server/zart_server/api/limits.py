"""How many calls a server takes at once: those that wait by design, and all others, apart.

So none can crowd out others: a fleet of long polls leaves room for what is answered at once, and
for watches; so do watches, and what anybody may wait for whom the server knows. Of these two one
principal has at most half. One call too many is told at once to go to another server.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter

from zart_server.domain.errors import ServerBusy

_DISPATCHERS = frozenset({
    "/zart.v1.DispatchService/LeaseTasks",
    "/zart.v1.DispatchService/DispatchTasks",
})  # fmt: skip
_WATCHES = frozenset({
    "/zart.v1.ExecutionService/WatchExecution",
    "/zart.v1.ExecutionService/RunExecution",
    "/zart.v1.AdminService/WatchPauseRule",
    "/zart.v1.BatchService/WatchBatch",
    "/zart.v1.AdminService/VerifyPauseRule",  # for its turn, most of all
})  # fmt: skip
_ABOUT_THE_SERVER = frozenset({
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
})  # fmt: skip
_WAITING = _DISPATCHERS | _WATCHES | _ABOUT_THE_SERVER
MOST_ABOUT_THE_SERVER = 256
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


class SharedLimit(CallLimit):
    """One of which each principal has at most half."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._share = max(1, limit // 2)
        self._by_principal: Counter[str] = Counter()

    def share(self, principal: str) -> Share:
        """Make a place that was taken one of a principal's. Raises ServerBusy."""
        if self._by_principal[principal] >= self._share:
            raise ServerBusy
        self._by_principal[principal] += 1
        return Share(self, principal)

    def unshare(self, principal: str) -> None:
        """Give such a place back."""
        self.leave()
        self._by_principal[principal] -= 1
        if not self._by_principal[principal]:
            del self._by_principal[principal]


class Share:
    """A place that a principal has."""

    def __init__(self, limit: SharedLimit, principal: str) -> None:
        self._limit = limit
        self._principal = principal

    def leave(self) -> None:
        """Give the place back."""
        self._limit.unshare(self._principal)


class Limits:
    """The limits of one server.

    ``waiting_calls``: of dispatchers, and apart from them as many watches.
    """

    def __init__(self, calls: int, waiting_calls: int) -> None:
        self._calls = CallLimit(calls)
        self._waiting: dict[frozenset[str], CallLimit] = {
            _DISPATCHERS: CallLimit(waiting_calls),
            _WATCHES: SharedLimit(waiting_calls),
            _ABOUT_THE_SERVER: SharedLimit(MOST_ABOUT_THE_SERVER),
        }
        self._routed = 0  # calls so far that somebody may have sent to another server
        self._by_method: dict[str, CallLimit] = {_UNCOUNTED: CallLimit(math.inf)}
        for methods, limit in self._waiting.items():
            self._by_method |= dict.fromkeys(methods, limit)

    def inside(self) -> dict[str, int]:
        """Return how many calls are under way: those that wait by design, and all others."""
        waiting = sum(limit.inside for limit in self._waiting.values())
        return {"waiting": waiting, "call": self._calls.inside}

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
