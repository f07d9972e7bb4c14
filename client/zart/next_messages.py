"""Waiting for the next message of a stream: whatever gRPC does, the wait ends.

gRPC may note that a call has failed and never end the read of its next message, as where a server
goes away in the moment in which the call begins: neither the status nor the deadline would wake
whoever reads. So a wait ends a moment after its call has, and a moment after the call's deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import queue
import threading
import time
from functools import partial
from typing import Any

import grpc
import grpc.aio

from zart.reading_threads import call_in_thread

_MOMENT = 1.0  # seconds in which a read ends by itself, once its call has
_OVERDUE = "it has not ended with its time"
_CUT_SHORT = "it has ended, and not all that it told has arrived"


class Messages:
    """The messages of a call of asyncio, which ends as the call does; it may raise AioRpcError.

    ``deadline``: the call's own, by ``time.monotonic``. Who leaves early is to cancel the call.
    """

    def __init__(self, call: Any, deadline: float | None = None) -> None:  # noqa: ANN401 - gRPC's
        self._call = call
        self._messages = aiter(call)
        self._deadline = deadline
        self._has_ended = False
        self._limit: asyncio.Timeout | None = None
        if hasattr(call, "add_done_callback"):  # what interceptors make of a call may lack it
            call.add_done_callback(self._note_end)

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a message
        limit = asyncio.timeout(_patience(self._deadline, has_ended=self._has_ended))
        try:
            async with limit:
                self._limit = limit
                return await anext(self._messages)
        except TimeoutError:
            if not limit.expired():
                raise
            self._call.cancel()
            raise await self._broken() from None
        finally:
            self._limit = None
            del limit  # it knows the task, whose error knows this frame: both would stay for long

    def _note_end(self, _call: object) -> None:
        self._has_ended = True
        if self._limit is not None and not self._limit.expired():
            until = asyncio.get_running_loop().time() + _MOMENT
            at = self._limit.when()
            self._limit.reschedule(until if at is None else min(at, until))

    async def _broken(self) -> grpc.aio.AioRpcError:
        if not self._has_ended:
            return _error(grpc.StatusCode.DEADLINE_EXCEEDED, _OVERDUE)
        code, details = await self._call.code(), await self._call.details()
        return _error(code, details, await self._call.trailing_metadata())


class SyncMessages:
    """The messages of a call of plain code, as ``Messages``. ``close`` is to follow.

    A thread reads them, one whenever it is asked for: nothing wakes whom gRPC has wait. Where no
    thread can be started they are read without; so they are where nothing could end the read once
    its reader has left, as of the generator that interceptors (OpenTelemetry's) make of a call.
    """

    def __init__(self, call: Any, deadline: float | None = None) -> None:  # noqa: ANN401 - gRPC's
        self._call = call
        self._deadline = deadline
        self._has_ended = False
        self._unread: Any = None
        if not hasattr(call, "cancel"):
            self._unread = iter(call)
            return
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[tuple[Any, BaseException | None] | None] = queue.SimpleQueue()
        # Interceptors have their context there, too.
        run = contextvars.copy_context().run
        try:
            call_in_thread(partial(run, _read, call, self._asked, self._told))
        except RuntimeError:  # at the process's limit of threads
            self._unread = iter(call)
            return
        told = self._told  # not self, which whoever drops it would not let go of
        # What interceptors make of a call may lack it, and fakes do.
        with contextlib.suppress(AttributeError, NotImplementedError):
            self._has_ended = not call.add_callback(lambda: told.put(None))

    def __iter__(self) -> SyncMessages:
        return self

    def __next__(self) -> Any:  # noqa: ANN401 - a message
        if self._unread is not None:
            return next(self._unread)
        self._asked.put(True)  # noqa: FBT003 - one more
        patience = _patience(self._deadline, has_ended=self._has_ended)
        until = None if patience is None else time.monotonic() + patience
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                told = self._told.get(timeout=left)
            except queue.Empty:
                raise self._broken() from None
            if told is None:
                self._has_ended = True
                soon = time.monotonic() + _MOMENT
                until = soon if until is None else min(until, soon)
                continue
            message, error = told
            if error is not None:
                raise error
            return message

    def close(self) -> None:
        """Cancel the call, if it has not ended."""
        if self._unread is None:
            self._asked.put(False)  # noqa: FBT003 - no more
        if hasattr(self._call, "cancel"):
            self._call.cancel()
        else:
            self._unread.close()

    def _broken(self) -> grpc.aio.AioRpcError:
        if not self._has_ended:
            return _error(grpc.StatusCode.DEADLINE_EXCEEDED, _OVERDUE)
        trailing = grpc.aio.Metadata(*(self._call.trailing_metadata() or ()))
        return _error(self._call.code(), self._call.details(), trailing)


def _read(
    call: Any,  # noqa: ANN401 - gRPC's
    asked: queue.SimpleQueue[bool],
    told: queue.SimpleQueue[tuple[Any, BaseException | None] | None],
) -> None:
    """Read a message whenever one is asked for; runs in a thread."""
    messages = iter(call)
    while asked.get():
        try:
            told.put((next(messages), None))
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            told.put((None, error))


def _patience(deadline: float | None, *, has_ended: bool) -> float | None:
    """Return for how many seconds the next message is waited for."""
    if has_ended:
        return _MOMENT
    if deadline is None or deadline == math.inf:
        return None
    return min(max(0.0, deadline - time.monotonic()) + _MOMENT, threading.TIMEOUT_MAX)


def _error(
    code: grpc.StatusCode, details: str | None, trailing: grpc.aio.Metadata | None = None
) -> grpc.aio.AioRpcError:
    if code is grpc.StatusCode.OK:
        code, details = grpc.StatusCode.UNAVAILABLE, _CUT_SHORT
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing or grpc.aio.Metadata(), details)
