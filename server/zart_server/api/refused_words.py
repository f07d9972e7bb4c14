"""What a mutation says that is refused for a role, read for its record alone.

Who was let in by no role may still ask for anything: who it was, what it was about and why is what
is looked for later. Only what is small is read, of few calls at a time, and nobody waits for it:
the others are on record without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError

from zart_server import aside

_PATIENCE = 1.0  # seconds, for a message that is to come with its call
_AT_ONCE = 16  # calls of which a message is read: each may be as large as any

Parse: TypeAlias = Callable[[bytes], Any]


class RefusedWords:
    """Reads the messages of calls that are refused before they are read."""

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, parse: Parse | None, requests: AsyncIterator[bytes]) -> object:
        """Return the first message of a call; None: it is none, or comes too late."""
        if self._reading >= _AT_ONCE:
            return None
        self._reading += 1
        try:
            with contextlib.suppress(TimeoutError, StopAsyncIteration):
                async with asyncio.timeout(_PATIENCE):
                    return words_of(parse, await anext(requests))
        finally:
            self._reading -= 1
        return None


def words_of(parse: Parse | None, raw: bytes) -> object:
    """Return the message that a call brought; None: it is large, or none."""
    if parse is None or len(raw) >= aside.LARGE:
        return None
    try:
        return parse(raw)
    except (DecodeError, ValueError):
        return None
