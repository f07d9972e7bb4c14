"""Whether the caller of a request is still there while it is answered.

uvicorn tells that a caller has gone only to who asks, and what is written for one goes nowhere,
without a word.
"""

from __future__ import annotations

from starlette.types import Message, Receive, Send

GONE = "499"  # what proxies log for a caller that went away
_DEFECT = 500  # from this status on the answer is no caller's doing


class Presence:
    """Stands between a request and its connection, and notes that the caller leaves.

    ``has_left``: before the last of its answer was written. ``is_read``: its request has come to
    its end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.has_left = False
        self.is_read = False
        self._is_answered = False
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

    def code_of(self, status: int) -> str:
        """Return what is told of an answer: that nobody took it, or its status.

        An answer of 500 or more stays what it is: callers are likely to leave where servers do not
        answer in time, and that is to be seen.
        """
        return GONE if self.has_left and status < _DEFECT else str(status)
