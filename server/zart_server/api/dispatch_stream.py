"""One DispatchTasks stream: reads requests, has them answered side by side, writes the answers.

What it holds is bounded: so many requests are under way, and one counts until its answer is
written. A caller that does not read is read no further, and after some seconds the stream ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpc.aio

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.errors import ShuttingDown

_UNDER_WAY = 8  # requests
_STALLED = 10.0  # seconds that one answer may wait to be read
_LAST_ANSWERS = 5.0  # seconds from the notice of the end to the end


@dataclass(slots=True, eq=False)
class StreamedAnswer:
    """An answer, and what it leased for whom; released where it is not sent."""

    message: pb.DispatchTasksResponse
    tasks: Sequence[LeasedTask] = ()
    principal: str = ""
    is_of_request: bool = True


Answer = Callable[[pb.DispatchTasksRequest, asyncio.Event], Awaitable[StreamedAnswer]]
"""Answers one request; leases nothing more once the event is set. An error ends the stream."""

Release = Callable[[StreamedAnswer, bool], None]
"""Takes an answer that was not sent. True: not even in part, so that no task of it has begun."""


class DispatchStream:
    """One stream. ``end_at_last`` waits until it is to end: its age, or the server's stop.

    ``abort`` ends the call with a status.
    """

    def __init__(
        self,
        answer: Answer,
        release: Release,
        end_at_last: Callable[[], Awaitable[None]],
        drop_gone: Callable[[], None],
        abort: Callable[[], Awaitable[None]],
    ) -> None:
        self._answer = answer
        self._release = release
        self._end_at_last = end_at_last
        self._drop_gone = drop_gone
        self._abort = abort
        self._places = asyncio.Semaphore(_UNDER_WAY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._answers: deque[StreamedAnswer] = deque()
        self._changed = asyncio.Event()
        self._no_more_leases = asyncio.Event()
        self._is_read = False
        self._written: StreamedAnswer | None = None  # an answer on its way to the caller
        self._is_over = False
        self._error: BaseException | None = None

    async def answers(
        self, requests: AsyncIterator[pb.DispatchTasksRequest]
    ) -> AsyncGenerator[pb.DispatchTasksResponse]:
        """Yield answers until the caller has half-closed the stream and has all of them.

        Raises what a message is refused with that cannot be read, Unauthenticated, or ShuttingDown
        where the caller goes on after the notice of the end.
        """
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._read(requests), name="stream")
        ending = asyncio.create_task(self._end(), name="stream's end")
        try:
            while (answer := await self._next()) is not None:
                self._written = answer
                stalled = loop.call_later(_STALLED, self._give_up)
                try:
                    yield answer.message
                finally:
                    stalled.cancel()
                self._written = None
                if answer.is_of_request:
                    self._places.release()
        finally:
            reading.cancel()
            ending.cancel()
            self._is_over = True
            self._end_leases()
            self._release_all()

    async def _next(self) -> StreamedAnswer | None:
        """Wait for an answer; None if there will be no more."""
        while True:
            if self._is_over:
                return None
            if self._error is not None:
                raise self._error
            if self._answers:
                return self._answers.popleft()
            if self._is_read and not self._under_way:
                return None
            self._changed.clear()
            await self._changed.wait()

    async def _read(self, requests: AsyncIterator[pb.DispatchTasksRequest]) -> None:
        try:
            async for request in requests:
                await self._places.acquire()
                task = asyncio.create_task(self._serve(request))
                self._under_way.add(task)
                task.add_done_callback(self._served)
        except Exception as error:  # noqa: BLE001 - raised to the caller
            self._fail(error)
        self._is_read = True
        self._end_leases()
        self._changed.set()

    async def _serve(self, request: pb.DispatchTasksRequest) -> None:
        try:
            answer = await self._answer(request, self._no_more_leases)
        except Exception as error:  # noqa: BLE001 - raised to the caller
            self._fail(error)
            return
        if self._is_over:
            self._release(answer, True)  # noqa: FBT003 - nothing of it was sent
        else:
            self._answers.append(answer)
            self._changed.set()

    def _served(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._changed.set()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._changed.set()

    def _give_up(self) -> None:
        """End the call of a caller that does not read; it learns of that when it does."""
        self._is_over = True
        self._end_leases()
        self._release_all()
        self._aborting = asyncio.create_task(self._abort_call())

    async def _abort_call(self) -> None:
        with contextlib.suppress(grpc.aio.AbortError, grpc.aio.BaseError):
            await self._abort()

    def _release_all(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            self._release(written, False)  # noqa: FBT003 - it was begun to be sent
        while self._answers:
            self._release(self._answers.popleft(), True)  # noqa: FBT003 - it was not

    def _end_leases(self) -> None:
        self._no_more_leases.set()
        self._drop_gone()

    async def _end(self) -> None:
        await self._end_at_last()
        message = pb.DispatchTasksResponse(ending=pb.StreamEnding())
        self._answers.append(StreamedAnswer(message, is_of_request=False))
        self._end_leases()
        self._changed.set()
        await asyncio.sleep(_LAST_ANSWERS)
        self._fail(ShuttingDown())
