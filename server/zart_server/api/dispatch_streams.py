"""The DispatchTasks streams of one server: each request in them is judged and done as a call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api.access import AccessVerdict, Shown
from zart_server.api.context import Context
from zart_server.api.dispatch_calls import DispatchCalls
from zart_server.api.dispatch_stream import DispatchStream, StreamedAnswer
from zart_server.api.errors import status_of
from zart_server.api.identity import principal
from zart_server.api.served_call import Door, Entry, ServedCall
from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.errors import InvalidField, ShuttingDown, Unauthenticated
from zart_server.engine.dispatch.dispatch import Dispatch

_METHODS = {
    "lease": "/zart.v1.DispatchService/LeaseTasks",
    "report": "/zart.v1.DispatchService/ReportTasks",
    "extend": "/zart.v1.DispatchService/ExtendLeases",
}
_SOONER = 0.1  # of its age, so that streams which began together do not end together


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who has opened a stream, as far as the stream's context tells it."""

    context: Context
    peer: str
    shown: Shown | None


class DispatchStreams:
    """Serves streams. ``age`` is the number of seconds that one lasts at most."""

    def __init__(self, dispatch: Dispatch, calls: DispatchCalls, door: Door, age: float) -> None:
        self._dispatch = dispatch
        self._calls = calls
        self._door = door
        self._age = age
        self._releases: set[asyncio.Task[None]] = set()

    async def answers(
        self, requests: AsyncIterator[pb.DispatchTasksRequest], context: Context
    ) -> AsyncGenerator[pb.DispatchTasksResponse]:
        """Answer the requests of one stream. Raises ShuttingDown, and as DispatchStream does."""
        if self._dispatch.draining.is_set():
            raise ShuttingDown
        access = self._door.access
        caller = _Caller(
            context, context.peer(), None if access is None else access.shown_by(context)
        )
        stream = DispatchStream(
            functools.partial(self._answer, caller),
            self._release,
            self._until_end,
            self._dispatch.long_polls.drop_gone,
            functools.partial(context.abort, grpc.StatusCode.CANCELLED, "answers are not read"),
        )
        async with aclosing(stream.answers(requests)) as answers:
            async for answer in answers:
                yield answer

    async def _answer(
        self, caller: _Caller, request: pb.DispatchTasksRequest, no_more: asyncio.Event
    ) -> StreamedAnswer:
        """Answer a request as its call would be. Raises Unauthenticated."""
        kind = request.WhichOneof("request")
        response = pb.DispatchTasksResponse(number=request.number)
        if kind == "ping":
            response.pong.SetInParent()
            return StreamedAnswer(response)
        if kind is None:
            wrong = InvalidField("request", "is none of lease, report, extend and ping")
            response.error.CopyFrom(status_of(wrong))
            return StreamedAnswer(response)
        method = _METHODS[kind]
        verdict = await self._judge(caller, method)
        call = ServedCall(method, caller.context, Entry(self._door, verdict, True), caller.peer)  # noqa: FBT003 - it exists
        call.request = getattr(request, kind)
        tasks: Sequence[LeasedTask] = ()

        async def run() -> Message:
            nonlocal tasks
            if kind == "lease":
                response.leased.SetInParent()
                tasks = await self._calls.lease(request.lease, no_more, response.leased)
            elif kind == "report":
                response.reported.SetInParent()
                tasks = await self._calls.report(request.report, response.reported)
            else:
                response.extended.SetInParent()
                await self._calls.extend(request.extend, response.extended)
            return response

        answer = await call.outcome(run)
        if isinstance(answer, status_pb2.Status):
            response.error.CopyFrom(answer)
        return StreamedAnswer(response, tasks, principal())

    async def _judge(self, caller: _Caller, method: str) -> AccessVerdict | None:
        """Judge one request anew: a token may have ended, a role been taken away."""
        access = self._door.access
        if access is None or caller.shown is None:
            return None
        verdict = await access.judge_again(method, caller.shown)
        if isinstance(verdict.error, Unauthenticated):
            access.note(verdict.error, caller.peer)
            raise verdict.error
        return verdict

    def _release(self, answer: StreamedAnswer, not_begun: bool) -> None:  # noqa: FBT001 - a callback's
        if answer.tasks:
            work = self._dispatch.release(answer.tasks, answer.principal, not_begun=not_begun)
            release = asyncio.create_task(work)
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)

    async def _until_end(self) -> None:
        age = self._age * (1 - _SOONER * random.random())  # noqa: S311 - only jitter
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(age):
                await self._dispatch.draining.wait()
