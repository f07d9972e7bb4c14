"""Runs plain handlers in threads, and takes their ends to the event loop, many at a time."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zart.dispatcher.log import Log
from zart.dispatcher.trouble import Trouble
from zart.step_context import StepContext

_log = Log(__name__)


class NotBegun(Exception):
    """No thread can be started for a handler, and none will call it."""


class Call:
    """A call of a handler in a thread: of ``work``, by whoever takes it first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> None:
        self._loop = loop
        self._work = [work]  # until it is taken
        self._waiter: asyncio.Future[None] | None = None
        self.has_returned = False  # with its result or error, of which the loop may not know yet
        self.has_ended = False
        self.result: Any = None
        self.error: BaseException | None = None

    def take(self) -> Callable[[], Any] | None:
        """Return what is to be called, to the first who asks, from any thread; None to others."""
        try:
            return self._work.pop()  # of two threads only one gets it
        except IndexError:
            return None

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
    """At most so many threads. They wake the loop once for all calls that have ended meanwhile."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool = self._new_pool()
        self._is_closed = False
        self._ended: deque[Call] = deque()
        self._is_woken = False
        self._trouble = Trouble(_log, "no thread can be started, plain steps are given back")

    def close(self) -> None:
        """Call no more handlers; what is called already is left to end."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._most, "zart-step")

    def start(
        self,
        function: Callable[[StepContext], Any],
        context: StepContext,
    ) -> Call:
        """Call a handler in a thread, with a copy of the context variables.

        Raises NotBegun where no thread can be started for it, as at the process's limit: then the
        handler is not called, nor will be.
        """
        loop = asyncio.get_running_loop()
        run = contextvars.copy_context().run
        call = Call(loop, lambda: run(function, context))
        try:
            self._pool.submit(self._run, loop, call)
        except Exception as error:
            # The pool queues what it is given before it starts a thread for it: the next thread
            # that is free would call it, unless it is taken back. One may have it by now.
            is_taken_back = call.take() is not None
            self._leave_pool()
            if is_taken_back:
                self._trouble.met(error)
                raise NotBegun(str(error)) from error
        else:
            self._trouble.over()
        return call

    def _leave_pool(self) -> None:
        """Have a new pool from now on; the threads of the one before end with what they have.

        Whoever finds a call that was taken back counts as one thread more that has nothing to do:
        for a later call no thread would be started, and its time pass while it waits for one.
        """
        if not self._is_closed:
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()

    def _run(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        work = call.take()
        if work is None:
            return
        try:
            call.result = work()
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            call.error = error
        call.has_returned = True
        self._ended.append(call)
        if not self._is_woken:
            self._is_woken = True
            loop.call_soon_threadsafe(self._bring_back)

    def _bring_back(self) -> None:
        self._is_woken = False  # first: a call that ends from now on wakes the loop again
        while self._ended:
            self._ended.popleft().end()
