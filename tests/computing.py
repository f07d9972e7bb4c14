"""How much a test may compute: seconds of this process's CPU, which a busy machine makes no more."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Self

import pytest

_TICK = 0.001  # seconds


@contextmanager
def cpu_seconds(most: float) -> Iterator[None]:
    """Fail once this process has computed for so long; regular expressions look at signals too."""

    def stop(*_: object) -> NoReturn:
        pytest.fail(f"took more than {most} s of CPU")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def collected_as_a_server_does() -> Iterator[None]:
    """Have the collector pass over what the tests themselves have made, as ``zart serve`` does."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Steps:
    """Measures what keeps an event loop from going on: both in seconds of CPU.

    ``longest``: its longest step, in time of its own thread. ``starved``: how long the process
    computed at most until the loop went on, which another thread may keep it from by holding the
    interpreter's lock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.longest = self.starved = 0.0
        self._loop = loop
        self._last = 0.0, 0.0
        self._is_over = False

    def _tick(self) -> None:
        own, all_ = now = time.thread_time(), time.process_time()
        self.longest = max(self.longest, own - self._last[0])
        self.starved = max(self.starved, all_ - self._last[1])
        self._last = now
        if not self._is_over:
            self._loop.call_later(_TICK, self._tick)

    async def _begin(self) -> None:
        self._last = time.thread_time(), time.process_time()
        self._tick()

    async def _end(self) -> None:
        self._is_over = True
        self._tick()

    async def __aenter__(self) -> Self:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._begin(), self._loop))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), self._loop))
