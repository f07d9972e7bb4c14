"""Runs plain handlers in threads, and takes their ends to the event loop, many at a time."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zart.step_context import StepContext


class Call:
    """A call of a handler in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self.has_ended = False
        self.result: Any = None
        self.error: BaseException | None = None

    async def wait(self) -> None:
        """Wait until the call has ended; if cancelled, only the wait ends, and may be repeated."""
        if not self.has_ended:
            self._waiter = self._loop.create_future()
            await self._waiter

    def end(self) -> None:
        """Note the end, and wake the waiter."""
        self.has_ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Threads:
    """A pool of threads. It wakes the loop once for all calls that have ended meanwhile."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._ended: deque[Call] = deque()
        self._is_woken = False

    def start(
        self,
        function: Callable[[StepContext], Any],
        context: StepContext,
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Call:
        """Call a handler in a thread, with a copy of the context variables.

        The call's result is what ``then``, in the thread too, makes of the handler's.
        """
        loop = asyncio.get_running_loop()
        call = Call(loop)
        run = contextvars.copy_context().run
        self._pool.submit(self._run, loop, call, run, function, context, then)
        return call

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        call: Call,
        run: Callable[..., Any],
        function: Callable[[StepContext], Any],
        context: StepContext,
        then: Callable[[Any], Any],
    ) -> None:
        try:
            call.result = then(run(function, context))
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            call.error = error
        self._ended.append(call)
        if not self._is_woken:
            self._is_woken = True
            loop.call_soon_threadsafe(self._bring_back)

    def _bring_back(self) -> None:
        self._is_woken = False  # first: a call that ends from now on wakes the loop again
        while self._ended:
            self._ended.popleft().end()
