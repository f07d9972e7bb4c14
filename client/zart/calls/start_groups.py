"""Which starts go out together, and how many: what both clients' group commit goes by.

Starts that are asked for one by one, while a call is under way, are one BatchStartExecutions. Each
stays by itself for its caller: one that is refused is asked for again alone, so that its error, and
the server's record of it, are those of StartExecution.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from zart.calls.call import Call
from zart.errors import InternalError, Refused, Unavailable, ZartError
from zart.models import Execution
from zart.trace_context import traced

PATIENCE = 0.05  # seconds that one call may hold up those that are asked for after it
TOO_LATE = "no answer from the server: Deadline Exceeded"
_MOST = 1_000  # in one call, as the server takes
_BYTES = 1024 * 1024  # of all of them; what is large is no cheaper together
_LARGE = 64 * 1024  # bytes of one that goes by itself


class Asked(Protocol):
    """A start that waits for its turn."""

    @property
    def call(self) -> Call[Execution]:
        """What is asked."""


A = TypeVar("A", bound=Asked)


def can_be_grouped(call: Call[Execution]) -> bool:
    """Return whether a start may go out with others: it is small, and its caller's once.

    A request_id is the whole call's, so a start that has one of its caller's goes alone; so does
    one within a trace, which is the call's, too.
    """
    request: Any = call.request  # a message known by its fields
    return not request.request_id and request.ByteSize() < _LARGE and not traced()


def take_group(waiting: list[A]) -> Sequence[A]:
    """Take from the head of ``waiting`` what one call carries: at least one, if there is any."""
    room, count = _BYTES, 0
    for asked in waiting[:_MOST]:
        room -= asked.call.request.ByteSize()
        if room < 0:
            break
        count += 1
    group = waiting[:count]
    del waiting[:count]
    return group


def did_nothing(error: ZartError) -> bool:
    """Return whether a call that failed so has done nothing for sure: each can be asked alone."""
    is_known = isinstance(error, Refused) and bool(error.reason)
    return is_known and not isinstance(error, (Unavailable, InternalError))


def own(error: Exception) -> Exception:
    """Return an exception of one caller's own: raised by two, it would tell of both."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
