"""Calls whose answers stream: a watch that broke is taken up again, a run is started and followed.

Each is here twice, for asyncio and for plain code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message

from zart.calls import execution
from zart.calls.call import Call
from zart.closed_clients import telling_if_closed
from zart.errors import ClientClosed, from_call
from zart.models import Execution
from zart.next_messages import Messages, SyncMessages
from zart.outages import Broken, Standing, taken
from zart.run_starts import RunStart
from zart.trace_context import traced
from zart.v1 import execution_service_pb2 as pb
from zart.waiting import Reconnecting

_NOT_OVER = "the run was not over after {} s"
LONGEST = 2.0**31  # seconds: past some 2**33 gRPC takes a deadline for one that has gone
_EARLY = 0.05  # seconds that gRPC, which goes by another clock, may end a call before its time


class Sends(Protocol):
    """What sends calls with asyncio: a client."""

    triggered_by: str
    timeout: float
    standing: Standing

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of its process."""

    async def send_raw(self, call: Call[Any]) -> Message:
        """Send a call and return its answer."""


class SendsSync(Protocol):
    """What sends calls without asyncio: a client."""

    triggered_by: str
    timeout: float
    standing: Standing

    @property
    def channel(self) -> grpc.Channel:
        """The channel of its process."""

    def send_raw(self, call: Call[Any]) -> Message:
        """Send a call and return its answer."""


async def watch(
    channel: grpc.aio.Channel,
    call: Call[Any],
    timeout: float | None = None,
    again: Reconnecting | None = None,
) -> AsyncGenerator[Any]:
    """Send a call that watches, and yield its messages; a broken one is sent again.

    ``again`` knows whether a server has answered before. Raises what the call does. After
    ``timeout`` seconds it raises what it last broke with, if it was told nothing since: what became
    of things by then nobody knows. Else TimeoutError.
    """
    rpc = _method(channel, call)
    again = again or Reconnecting()
    deadline = None if timeout is None else time.monotonic() + timeout
    with again.explaining():
        while True:
            left = None if deadline is None else _left(deadline)
            if left == 0:
                raise _given_up(again, timeout)
            stream = _begin(rpc, call.request, again, left)
            messages = Messages(stream, deadline)
            try:
                with telling_if_closed(call.request):
                    async for message in messages:
                        again.answered()
                        yield message
            except grpc.RpcError as error:
                if _is_late(error, deadline):
                    raise _given_up(again, timeout) from error
                await asyncio.sleep(_rest(again.delay_after(from_call(error)), deadline))
            else:
                return
            finally:
                stream.cancel()  # left early, it would go on: `async for` closes nothing


def watch_sync(
    channel: grpc.Channel,
    call: Call[Any],
    timeout: float | None,
    again: Reconnecting | None = None,
) -> Iterator[Any]:
    """Send a call that watches, as ``watch``."""
    rpc = _method(channel, call)
    again = again or Reconnecting()
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else _left(deadline)
        if left == 0:
            raise _given_up(again, timeout)
        messages = SyncMessages(_begin(rpc, call.request, again, left), deadline)
        try:
            for message in messages:
                again.answered()
                yield message
        except grpc.RpcError as error:
            error.__traceback__ = None  # it is the call, which the frames know: both would stay
            if _is_late(error, deadline):
                raise _given_up(again, timeout) from error
            time.sleep(_rest(again.delay_after(from_call(error)), deadline))
        else:
            return
        finally:
            messages.close()


async def run(client: Sends, start: Call[Execution]) -> AsyncGenerator[pb.RunExecutionResponse]:
    """Start an execution and yield the answer, then its states, until its current run has ended.

    While nobody serves, the start is repeated as a call is. A stream that breaks once the execution
    is started goes on as a watch; a server that does not know the call is asked for the start and
    for the watch. Raises what these do. A CancelledError has a cause where no server has answered
    the start, which may have happened: what it failed with last, or Unreachable.
    """
    start = start.completed(client.triggered_by)
    begun = RunStart(start, client.standing, client.timeout)
    again = Reconnecting(standing=client.standing)
    call = execution.run_execution(start)
    rpc = _method(client.channel, call)
    with begun.explaining():
        while True:
            stream = _begin(rpc, call.request, begun.repeats)
            messages = Messages(stream)
            try:
                with telling_if_closed(start.request):
                    async for message in messages:
                        begun.heard(message)
                        yield message
            except grpc.RpcError as error:
                rest = begun.rest_after(error)
            else:
                return
            finally:
                stream.cancel()
            if rest is None:
                break
            await asyncio.sleep(rest)
        if begun.answer is None:
            answer: Any = await client.send_raw(start)
            begun.answer = answer
            yield pb.RunExecutionResponse(started=answer)
        else:
            again.answered()
            with again.explaining():
                await asyncio.sleep(again.delay_after(begun.broken_by()))
    following = execution.watch_execution(begun.answer.execution.execution_id)
    async with aclosing(watch(client.channel, following, again=again)) as states:
        async for state in states:
            yield pb.RunExecutionResponse(state=state)


def run_sync(
    client: SendsSync,
    start: Call[Execution],
    timeout: float | None,
    on_break: Callable[[], object] | None = None,
) -> Iterator[pb.RunExecutionResponse]:
    """Start an execution and follow it, as ``run``; after ``timeout`` seconds as ``watch_sync``.

    Raises what the start failed with last, or Unreachable, in place of TimeoutError where no server
    has answered it by then.
    """
    start = start.completed(client.triggered_by)
    deadline = None if timeout is None else time.monotonic() + timeout
    most = client.timeout if timeout is None else min(timeout, client.timeout)
    begun = RunStart(start, client.standing, most)
    call = execution.run_execution(start)
    rpc = _method(client.channel, call)
    while True:
        left = None if deadline is None else _left(deadline)
        stream = _begin(rpc, call.request, begun.repeats, left)
        messages = SyncMessages(stream, deadline)
        try:
            for message in messages:
                begun.heard(message)
                yield message
        except grpc.RpcError as error:
            error.__traceback__ = None  # as in ``watch_sync``
            if begun.answer is not None and _is_late(error, deadline):
                raise TimeoutError(_NOT_OVER.format(timeout)) from error
            rest = begun.rest_after(error)
        else:
            return
        finally:
            messages.close()
        if rest is None:
            break
        time.sleep(rest)
    again = Reconnecting(on_break, client.standing)
    if begun.answer is None:
        answer: Any = client.send_raw(start)
        begun.answer = answer
        yield pb.RunExecutionResponse(started=answer)
    else:
        again.answered()
        time.sleep(_rest(again.delay_after(begun.broken_by()), deadline))
    left = None if deadline is None else _left(deadline)
    following = execution.watch_execution(begun.answer.execution.execution_id)
    try:
        for state in watch_sync(client.channel, following, left, again):
            yield pb.RunExecutionResponse(state=state)
    except TimeoutError as error:
        raise TimeoutError(_NOT_OVER.format(timeout)) from error


def _method(channel: Any, call: Call[Any]) -> Callable[..., Any]:  # noqa: ANN401 - of either kind
    method: Callable[..., Any] = channel.unary_stream(
        call.path,
        request_serializer=type(call.request).SerializeToString,
        response_deserializer=call.response_type.FromString,
    )
    return method


def _begin(
    rpc: Callable[..., Any],
    request: Message,
    before: Broken,
    timeout: float | None = None,
) -> Any:  # noqa: ANN401 - a call of either kind
    """Begin a call on a client that is not closed.

    Raises ClientClosed else, or what the one ``before`` it broke with.
    """
    try:
        with telling_if_closed(request):
            return rpc(request, timeout=timeout, **traced())
    except ClientClosed as closed:
        raise (taken(before) or closed) from closed.__cause__


def _left(deadline: float) -> float:
    """Return the seconds until then, as many as gRPC counts to."""
    return min(max(0.0, deadline - time.monotonic()), LONGEST)


def _rest(delay: float, deadline: float | None) -> float:
    """Return the seconds of a delay that are left until then."""
    return delay if deadline is None else min(delay, _left(deadline))


def _is_late(error: Any, deadline: float | None) -> bool:  # noqa: ANN401 - a failed call, of any kind
    """Return whether a call was ended at our deadline.

    A server and a proxy have deadlines of their own, which say so alike.
    """
    is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return is_late and deadline is not None and _left(deadline) < _EARLY


def _given_up(again: Reconnecting, timeout: float | None) -> Exception:
    return taken(again) or TimeoutError(f"the watch was not over after {timeout} s")
