"""The outermost interceptor: every call passes it to be let in, parsed, answered and counted.

For all four kinds of calls, health, reflection and unknown methods included. Without it a
malformed request or an exception would reach the caller as text of the server's own.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from zart_server import aside
from zart_server.api import call_trace
from zart_server.api.access import OPEN_TO_ALL
from zart_server.api.audited import AUDITED
from zart_server.api.context import Context
from zart_server.api.policy import OPEN
from zart_server.api.refused_words import Parse, RefusedWords, words_of
from zart_server.api.responses import Responses
from zart_server.api.served_call import Door, Entry, ServedCall
from zart_server.api.step_counts import counting_steps
from zart_server.api.strangers_messages import StrangersMessages
from zart_server.api.unknown_fields import looking
from zart_server.api.wire import check_kind, check_parts
from zart_server.domain.errors import (
    InvalidField,
    UnknownMethod,
)

_STEP_BYTES = 150  # which take as long to decode as a step, of seven bytes perhaps

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler, so that every call passes the door."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._words = RefusedWords()
        self._strangers = StrangersMessages()
        self._unasked = Entry(self._door, None, exists=True)
        # By method, where nobody is asked who they are; None: it is yet to be wrapped.
        self._wrapped: dict[str, Handler | None] = dict.fromkeys(OPEN)

    async def intercept_service(  # type: ignore[override]  # the base class is generic, call by call
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a call, or stand in for one that does not exist."""
        method = handler_call_details.method
        call_trace.note(handler_call_details.invocation_metadata)
        if method in self._wrapped:
            made = self._wrapped[method]
            if made is not None:
                return made
        handler = await continuation(handler_call_details)
        if method in self._wrapped and handler is not None:
            made = self._wrapped[method] = _read_late(
                method, handler, Entry(self._door, OPEN_TO_ALL, exists=True), self._strangers
            )
            return made
        exists, access, verdict = handler is not None, self._door.access, None
        if access is None and exists:
            wrapped = self._wrapped[method] = _wrapped(method, handler, self._unasked)
            return wrapped
        if access is not None:
            metadata = handler_call_details.invocation_metadata
            verdict = await access.judge(method, metadata, exists=exists)
        entry = Entry(self._door, verdict, exists)
        if not exists or (verdict is not None and verdict.error is not None):
            # A handler of streams: the message of a call that is refused is not even read, but
            # for the record of a mutation that lacks a role.
            asked = handler.request_deserializer if exists else None
            return grpc.stream_stream_rpc_method_handler(
                _refused(method, entry, asked, self._words)
            )
        return _wrapped(method, handler, entry)


def _refused(
    method: str, entry: Entry, parse: Parse | None, words: RefusedWords
) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[object]]:
    async def run() -> AsyncIterator[object]:  # of a caller who may know
        raise UnknownMethod(method)

    async def refuse(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[object]:
        call = ServedCall(method, context, entry)

        async def unread() -> object:
            return await words.read(parse, requests)

        if method in AUDITED:
            call.unread = unread
        async with aclosing(call.stream(run)) as nothing:
            async for response in nothing:
                yield response

    return refuse


def _read_late(
    method: str, handler: Handler, entry: Entry, strangers: StrangersMessages
) -> Handler:
    """Wrap a method that anybody may call, of one request and one answer.

    To gRPC it takes a stream: it would read the one message of a call whole before this is run.
    """
    inner, asked = _behavior_of(handler), _asking(method, handler)
    begin = _beginning(method, handler, entry)

    async def answer(requests: AsyncIterator[bytes], context: Context) -> object:
        call = begin(requests, context)

        async def run() -> object:
            return await inner(await asked(call, await strangers.read(requests)), context)

        return await call.answer(run)

    return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)


def _wrapped(method: str, handler: Handler, entry: Entry) -> Handler:
    """Return a handler of the same kind that takes raw bytes.

    One whose responses stream is an async generator, and so must the wrapped one be: what else
    wraps handlers of grpc.aio (OpenTelemetry's agent) iterates over them.
    """
    inner, make, asked = _behavior_of(handler), _maker_of(handler), _asking(method, handler)
    begin = _beginning(method, handler, entry)

    async def answer(raw: Any, context: Context) -> Any:  # noqa: ANN401 - as above
        call = begin(raw, context)

        async def run() -> object:
            return await inner(await asked(call, raw), context)

        return await call.answer(run)

    async def stream(raw: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        call = begin(raw, context)

        async def run() -> AsyncIterator[object]:
            return cast("AsyncIterator[object]", inner(await asked(call, raw), context))

        async with aclosing(call.stream(run)) as responses:
            async for response in responses:
                yield response

    if handler.response_streaming and inspect.iscoroutinefunction(inner):
        return _writing(method, handler, entry)
    outer = stream if handler.response_streaming else answer
    return make(outer, None, handler.response_serializer)


def _writing(method: str, handler: Handler, entry: Entry) -> Handler:
    """Wrap a handler that writes its responses but the last, and returns that (``Responses``).

    To gRPC it answers by one response, so that what it returns goes out in one piece with the end.
    """
    inner, asked = _behavior_of(handler), _asking(method, handler)
    begin = _beginning(method, handler, entry)

    async def write(raw: Any, context: Context) -> Any:  # noqa: ANN401 - as above
        call = begin(raw, context)
        responses = Responses(context, handler.response_serializer, call.responds)

        async def run() -> object:
            return await inner(await asked(call, raw), responses)

        return await call.writing(run)

    return grpc.unary_unary_rpc_method_handler(write, None, handler.response_serializer)


def _beginning(method: str, handler: Handler, entry: Entry) -> Callable[[Any, Context], ServedCall]:
    """Return what makes a call of raw bytes: its caller's certificate is judged only then."""
    parse = handler.request_deserializer
    is_read = method in AUDITED and entry.verdict is None and entry.door.access is not None

    def begin(raw: Any, context: Context) -> ServedCall:  # noqa: ANN401 - as above
        call = ServedCall(method, context, entry)
        if is_read:

            async def unread() -> object:
                return words_of(parse, raw)

            call.unread = unread
        return call

    return begin


def _asking(method: str, handler: Handler) -> Callable[[ServedCall, Any], Awaitable[Any]]:
    """Return what makes of raw bytes, or of an iterator of them, what a handler takes."""
    parse, kind = handler.request_deserializer, _kind_of(handler)
    look = looking(method, kind)
    count = None if kind is None else counting_steps(kind)

    async def asked(call: ServedCall, raw: Any) -> Any:  # noqa: ANN401 - a message, or an iterator
        if handler.request_streaming:
            return _all_parsed(parse, raw, kind)
        aside.REQUEST_BYTES.set(len(raw))
        if kind is not None and len(raw) >= aside.LARGE:
            await _check_large(raw, kind)
        call.request = await aside.decoded(_parse, parse, raw)
        if look is not None:  # after that: what is refused for it is on record as it was read
            await aside.decoded(look, call.request, raw)
        if count is not None and len(raw) < aside.LARGE:
            aside.REQUEST_BYTES.set(max(len(raw), _STEP_BYTES * count(call.request)))
        return call.request

    return asked


def _behavior_of(handler: Handler) -> Callable[[Any, Any], Any]:
    kinds = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    found: Any = next(behavior for behavior in kinds if behavior is not None)
    return cast("Callable[[Any, Any], Any]", found)  # the stubs have those of threads


def _maker_of(handler: Handler) -> Callable[..., Handler]:
    return {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]


async def _all_parsed(
    parse: Parse | None, raw: AsyncIterator[bytes], kind: Descriptor | None
) -> AsyncIterator[Any]:
    async for one in raw:
        aside.REQUEST_BYTES.set(len(one))  # of who iterates
        if kind is not None and len(one) >= aside.LARGE:
            await _check_large(one, kind)
        yield await aside.decoded(_parse, parse, one)


async def _check_large(raw: bytes, kind: Descriptor) -> None:
    check_kind(kind)
    await aside.decoded(check_parts, raw, kind)


def _kind_of(handler: Handler) -> Descriptor | None:
    """Return what a handler is asked with, where it is a message."""
    message = getattr(handler.request_deserializer, "__self__", None)
    kind: Descriptor | None = getattr(message, "DESCRIPTOR", None)
    return kind


def _parse(parse: Parse | None, raw: bytes) -> Any:  # noqa: ANN401 - a message of any method
    try:
        return raw if parse is None else parse(raw)
    except (DecodeError, ValueError):
        raise InvalidField("request", "is not the message that this method takes") from None
