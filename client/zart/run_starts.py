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
from zart.outages import Repeats, Standing
from zart.v1 import execution_service_pb2 as pb


class RunStart:
    """A start that has ``seconds`` to be answered; ``answer`` is None until it is.

    ``problem`` is what its stream broke with last.
    """

    problem: ZartError

    def __init__(self, start: Call[Execution], standing: Standing, seconds: float) -> None:
        self.answer: pb.StartExecutionResponse | None = None
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
        self.problem = from_call(error, self._request)
        self.problem.__cause__ = error
        if self.answer is not None or isinstance(self.problem, UnknownMethod):
            return None
        return self.repeats.rest_after(error)

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Have who gives up waiting know that no server has answered the start, and why.

        It is the cause of the CancelledError, as of one that ``Reconnecting`` explains.
        """
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if self.answer is None:
                cancelled.__cause__ = self.repeats.problem or self._unanswered()
            raise

    def _unanswered(self) -> Unreachable:
        unanswered = Unreachable(TOO_LATE)
        unanswered.request_id = getattr(self._request, "request_id", "")
        return unanswered
