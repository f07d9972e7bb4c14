"""The messages of calls that anybody may make without credentials: few are read at a time.

A message that is being read may take 16 MiB, and as long as its caller likes. Of one that is not
read yet gRPC takes no more than a window of 64 KiB. So each waits for a place, and has it for a
moment where others wait, too. The newest goes first: whoever fills the places with messages that
never become whole keeps those waiting that came before, and hardly the next health check.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from zart_server.domain.errors import InvalidField, PayloadTooLarge, ServerBusy

AT_ONCE = 16  # messages that are read: each may be as large as any before it is refused
MOST_WAITING = 2_000  # a burst of health checks is answered whole
LARGEST = 64 * 1024  # bytes
_PATIENCE = 10.0  # seconds, for a message and before that for a place
_HURRIED = 0.5  # seconds, for a message that keeps others waiting


class StrangersMessages:
    """Reads the one message of each such call."""

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._reading: dict[asyncio.Timeout, float] = {}  # and when each began
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def read(self, requests: AsyncIterator[bytes]) -> bytes:
        """Return the message of a call.

        Raises ServerBusy: others took its place; InvalidField: it did not come; PayloadTooLarge.
        """
        await self._enter()
        now, patience = asyncio.get_running_loop().time, _HURRIED if self._waiting else _PATIENCE
        limit, began = asyncio.timeout(patience), now()
        try:
            async with limit:
                self._reading[limit] = began
                raw = await anext(requests, None)
        except TimeoutError:
            if now() < began + _PATIENCE:
                raise ServerBusy from None
            raise InvalidField("request", f"did not come whole in {_PATIENCE:g} s") from None
        finally:
            self._reading.pop(limit, None)
            self._leave()
        if raw is None:
            raise InvalidField("request", "is none")
        if len(raw) > LARGEST:
            raise PayloadTooLarge("request", len(raw), LARGEST)
        return raw

    async def _enter(self) -> None:
        """Take a place. Raises ServerBusy."""
        if self._free:
            self._free -= 1
            return
        self._hurry()
        if len(self._waiting) >= MOST_WAITING:
            oldest = self._waiting.popleft()
            if not oldest.done():  # else it has just left, or given up
                oldest.set_exception(ServerBusy())
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(_PATIENCE):
                await place
        except BaseException as error:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not place.cancelled() and place.exception() is None:
                self._leave()  # it was given the place, and is gone
            if isinstance(error, TimeoutError):
                raise ServerBusy from None
            raise

    def _hurry(self) -> None:
        for limit, began in self._reading.items():
            when = limit.when()
            if when is not None and when > began + _HURRIED and not limit.expired():
                limit.reschedule(began + _HURRIED)

    def _leave(self) -> None:
        """Give a place back, or on to the newest of those who wait."""
        while self._waiting:
            place = self._waiting.pop()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
