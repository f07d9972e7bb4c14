"""The start with which a run that is followed begins: answered or not, and when it is repeated."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import grpc

from zart.calls.call import Call
from zart.calls.start_groups import TOO_LATE
from zart.errors import UnknownMethod, Unreachable, ZartError, from_call
from zart.models import Execution
from zart.outages import Repeats, Standing, taken
from zart.v1 import execution_service_pb2 as pb


class RunStart:
    """A start that has ``seconds`` to be answered; ``answer`` is None until it is.

    ``problem`` is what its stream broke with where the run is to be followed otherwise.
    """

    def __init__(self, start: Call[Execution], standing: Standing, seconds: float) -> None:
        self.answer: pb.StartExecutionResponse | None = None
        self.problem: ZartError | None = None
        self.repeats = Repeats(standing, start, time.monotonic() + seconds)
        self._standing = standing
        self._request = start.request

    def heard(self, message: pb.RunExecutionResponse) -> None:
        """Note a message: the first one is the answer."""
        self._standing.was_answered = True
        if self.answer is None:
            self.answer = message.started

    def rest_after(self, error: grpc.RpcError) -> float | None:
        """Return the seconds to wait before the start is sent again, or raise what it failed with.

        None: it is not. It was answered, so the run is to be watched; or the server does not know
        the call, so the start is to be sent by itself.
        """
        problem = from_call(error, self._request)
        if self.answer is None and not isinstance(problem, UnknownMethod):
            return self.repeats.rest_after(error)
        self.problem = problem
        self.problem.__cause__ = error
        return None

    def broken_by(self) -> ZartError:
        """Return the problem, once."""
        problem = taken(self)
        assert problem is not None  # noqa: S101 - it is asked for where ``rest_after`` said None
        return problem

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Have who gives up waiting know that no server has answered the start, and why.

        It is the cause of the CancelledError, as of one that ``Reconnecting`` explains.
        """
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if self.answer is None:
                cancelled.__cause__ = taken(self.repeats) or self._unanswered()
            raise

    def _unanswered(self) -> Unreachable:
        unanswered = Unreachable(TOO_LATE)
        unanswered.request_id = getattr(self._request, "request_id", "")
        return unanswered
