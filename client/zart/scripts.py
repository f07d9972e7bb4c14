"""Plays scripts of calls: each call is answered, until the script returns what they come to.

What takes several calls is written once so, as a generator, for clients of either kind.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from zart.calls.call import Call

T = TypeVar("T")
Script: TypeAlias = Generator[Call[Any], Any, T]
"""Yields calls, is sent their answers as protos, and returns a T."""


async def play(send: Callable[[Call[Any]], Awaitable[Message]], script: Script[T]) -> T:
    """Send the calls of a script, one by one, and return its result."""
    answer = None
    try:
        while True:
            answer = await send(script.send(answer))
    except StopIteration as done:
        result: T = done.value
        return result


def play_sync(
    send: Callable[[Call[Any]], Message], script: Script[T], until: float | None = None
) -> T:
    """Send the calls of a script, as ``play``.

    None is sent after the moment ``until`` of time.monotonic(): it raises TimeoutError then.
    """
    answer = None
    try:
        while True:
            call = script.send(answer)
            if until is not None and time.monotonic() >= until:
                raise TimeoutError("the time was over before all of it was read")
            answer = send(call)
    except StopIteration as done:
        result: T = done.value
        return result
