"""Whether the caller of a request is still there while it is answered, and what it was told.

uvicorn tells that a caller has gone only to who asks, and what is written for one goes nowhere,
without a word. So it is where the connection has answered in place of the application: to that the
caller has gone, and the answer is noted for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Receive, Scope, Send

_GONE = "499"  # what proxies log for a caller that went away
_DEFECT = 500  # from this status on the answer is no caller's doing
_TOLD = "zart.told"  # in the state of a scope, which its copies share: the status of such an answer


def note_answer(scope: Mapping[str, Any], status: int) -> None:
    """Note that a connection has answered this request itself."""
    scope["state"][_TOLD] = status


class Presence:
    """Stands between a request and its connection, and notes that the caller leaves.

    ``has_left``: before the last of its answer was written. ``is_read``: its request has come to
    its end.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.has_left = False
        self.is_read = False
        self._is_answered = False
        self._scope = scope
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Pass on what comes from the caller."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.has_left |= not self._is_answered  # else it is how a whole answer is told
        elif not message.get("more_body", False):
            self.is_read = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_answered = True

    def code_of(self, status: int | None) -> str:
        """Return what is told of an answer: its status, or that nobody took it. None: no answer.

        Where the connection has answered instead, it is the status of that. One of 500 or more
        stays what it is: callers are likely to leave where servers do not answer in time, and that
        is to be seen.
        """
        told = self._scope.get("state", {}).get(_TOLD)
        if told is not None:
            return str(told)
        if status is None or (self.has_left and status < _DEFECT):
            return _GONE
        return str(status)
