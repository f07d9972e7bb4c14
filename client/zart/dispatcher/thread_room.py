"""Whether gRPC can start the threads that a call needs: where it cannot, its channel is lost.

A channel for plain code has a thread that takes what its calls bring, from the first that is under
way to the end of the last. Where it cannot be started, as at the process's limit, the channel takes
it for started all the same: no call is answered any more, and to close the channel takes for ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc

from zart.renewing import RenewingChannel

# More than are needed: one that has ended may count for a moment more.
_SPARE = 2


class ThreadRoom:
    """Room for the threads of one channel's calls, each of which it is to begin.

    A channel that follows its credentials is another one of gRPC's, with a thread of its own, once
    their files have changed.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        # Calls, each with gRPC's channel. As long as any call is, that has its thread.
        self._under_way: dict[object, grpc.Channel] = {}

    def begin(self, call: Callable[..., Any], *args: Any, more: int = 0, **options: Any) -> Any:  # noqa: ANN401 - gRPC's
        """Begin a call, and return it; it needs so many threads beside the channel's.

        Whoever learns of its end first, from gRPC, is to say so to ``ended``. Raises RuntimeError
        where its threads cannot be started.
        """
        # Who tells gRPC's thread of an end waits for the lock, and it for them: it cannot have
        # ended by the time that a call counts on it.
        with self._lock, _held(self._channel) as channel:
            count = more if channel in self._under_way.values() else more + 1
            if count:
                _start_and_end(count + _SPARE)
            begun = call(*args, **options)
            self._under_way[begun] = channel
        return begun

    def ended(self, call: object) -> None:
        """Note in gRPC's thread, by a callback of the call's, that it has ended."""
        with self._lock:
            self._under_way.pop(call, None)


def _held(channel: grpc.Channel) -> AbstractContextManager[grpc.Channel]:
    """Return what has all calls meanwhile go out on one channel of gRPC's, and gives that."""
    if isinstance(channel, RenewingChannel):
        return channel.renewed.held()
    return contextlib.nullcontext(channel)


def _start_and_end(count: int) -> None:
    gate = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=gate.wait, name="zart-room", daemon=True)
            thread.start()
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()
