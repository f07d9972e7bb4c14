"""How long a call is repeated while nobody serves: until its time is over.

The channel repeats what failed four times, within some two seconds: enough where one of several
servers stops. All of them begun anew, or a failover of their database, takes longer, and callers
need not know of it. A repeat is the same call, its request_id included, and is done at most once.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from zart import status_details
from zart.calls.call import Call
from zart.errors import ClientClosed, Refused, Unreachable, ZartError, from_call
from zart.errors.from_server import CLOSED_MEANWHILE

_FIRST = 0.1  # seconds between two tries, each of which the channel repeats
_LONGEST = 1.0
_SPREAD = 0.25  # seconds: callers who were told the same time do not come all at once
# Who goes by a clock of its own, as those whose starts went out together, is told why all the same.
_EARLY = 0.2  # seconds before its deadline that a repeat is given up
_NOT_TAKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
# Who leases goes by a pace of its own: leases end meanwhile, and one whose answer was lost is
# nobody's until then.
_OWN_PACE = "DispatchService"


@dataclass(eq=False, slots=True)
class Standing:
    """How one client stands with its servers.

    ``was_answered``: one was there. Where none ever was, the address may be wrong, or what is shown
    to it: that no time cures. ``repeats``: its calls are repeated for as long as they may take.
    """

    repeats: bool = True
    was_answered: bool = False


class Broken(Protocol):
    """What knows the ``problem`` with which something failed last; None: it is well."""

    problem: ZartError | None


def taken(broken: Broken) -> ZartError | None:
    """Return the problem, and forget it: what is raised is known to none of those it goes through.

    It knows the frames of them all. Else they stayed, with what their callers had in their hands,
    until all garbage was looked for.
    """
    problem, broken.problem = broken.problem, None
    return problem


class Repeats:
    """Decides whether a call that failed is sent again, and when.

    ``problem`` is what it failed with last; None: it did not fail so far.
    """

    def __init__(self, standing: Standing, call: Call[Any], deadline: float) -> None:
        self.problem: ZartError | None = None
        self._standing = standing
        self._request = call.request
        self._may_be = call.method.containing_service.name != _OWN_PACE
        self._deadline = deadline - _EARLY
        self._pace = _FIRST

    def rest_after(self, error: grpc.RpcError) -> float:
        """Return the seconds to wait before it is sent again. Raises what it failed with, else."""
        before, problem = taken(self), from_call(error, self._request)
        try:
            if isinstance(problem, Refused) and problem.reason:
                self._standing.was_answered = True
            if before is not None and _is_late(problem, error):
                raise before from error
            if not self._is_outage(problem, error):
                raise problem from error
            rest = self._rest(problem)
            if time.monotonic() + rest >= self._deadline:
                raise problem from error
            self.problem = problem
            return rest
        finally:
            del before, problem  # as ``taken``

    def left(self) -> float:
        """Return the seconds that the next try may take. Raises the problem if there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0 and (problem := taken(self)) is not None:
            try:
                raise problem
            finally:
                del problem  # as ``taken``
        return left

    def told_closed(self, closed: ClientClosed) -> ZartError:
        """Return what a call fails with whose client is closed, before it or while it waited."""
        if self.problem is None:
            return closed
        told = Unreachable(CLOSED_MEANWHILE)
        told.request_id = closed.request_id
        return told

    def _rest(self, problem: ZartError) -> float:
        wait, self._pace = self._pace, min(2 * self._pace, _LONGEST)
        rest = wait * random.uniform(0.5, 1)  # noqa: S311 - no secret
        asked = problem.retry_after if isinstance(problem, Refused) else None
        if asked is None:
            return rest
        return max(rest, asked.total_seconds() + random.uniform(0, _SPREAD))  # noqa: S311 - likewise

    def _is_outage(self, problem: ZartError, error: Any) -> bool:  # noqa: ANN401 - a failed call, of any kind
        """Return whether time may cure it: nobody serves now, and somebody did, or says so."""
        if not (self._standing.repeats and self._may_be):
            return False
        if isinstance(problem, Refused):
            return problem.code is grpc.StatusCode.UNAVAILABLE
        is_lost = error.code() in _NOT_TAKEN or status_details.was_cut(error)
        return is_lost and self._standing.was_answered and problem.message != CLOSED_MEANWHILE


def _is_late(problem: ZartError, error: Any) -> bool:  # noqa: ANN401 - a failed call, of any kind
    """Return whether the time was over; a server that says so of its own work is another matter."""
    is_own = isinstance(problem, Unreachable)
    return is_own and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
