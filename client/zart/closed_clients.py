"""What a caller is told whose client is closed: before the call, or while it waits for its answer.

gRPC refuses a call on a closed channel by an error of its own, another one for each kind of client.
Whoever waits with asyncio it tells that they were cancelled, which nobody has done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TypeVar

import grpc.aio
from google.protobuf.message import Message

from zart.errors import ClientClosed, Unreachable, ZartError
from zart.errors.from_server import CLOSED_MEANWHILE

_CLOSED = "this client is closed, it takes no more calls"

E = TypeVar("E", bound=ZartError)


@contextlib.contextmanager
def telling_if_closed(request: Message | None = None) -> Iterator[None]:
    """Tell of a closed client in our words, within the context of a call that has this request.

    Raises ClientClosed where it was closed before the call, Unreachable where it is closed while
    the call waits. A CancelledError stays one if the task itself is cancelled, in that moment too.
    """
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if is_cancelled():
            raise
        raise _of(request, Unreachable(CLOSED_MEANWHILE)) from cancelled
    except (grpc.aio.UsageError, ValueError) as error:
        words = str(error).lower()
        if "channel" not in words or "closed" not in words:
            raise
        # No name for it: its traceback knows this frame.
        raise _of(request, ClientClosed(_CLOSED)) from error


def is_cancelled() -> bool:
    """Return whether somebody has cancelled this task, a time limit included."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _of(request: Message | None, error: E) -> E:
    error.request_id = getattr(request, "request_id", "") or error.request_id
    return error
