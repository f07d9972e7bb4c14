"""The outermost interceptor: it alone lets in, parses requests, answers errors, logs and counts.

For all four kinds of calls, health, reflection and unknown methods included. Without it a
malformed request or an exception would reach the caller as text of the server's own.
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_status import rpc_status

from zart_server import aside
from zart_server.api.access import AccessControl, AccessVerdict
from zart_server.api.context import Context
from zart_server.api.errors import CODES, internal_status, status_of
from zart_server.api.identity import CALLING
from zart_server.api.limits import Limits, Room
from zart_server.api.unknown_fields import refusing
from zart_server.api.wire import check_parts
from zart_server.domain.errors import (
    MAX_VALUE,
    InvalidField,
    RoleRequired,
    Unauthenticated,
    UnknownMethod,
    ZartError,
    cut,
)
from zart_server.observability import CALLS, SECONDS

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_log = structlog.get_logger("zart.calls")
_LEVEL = logging.getLogger("zart.calls")
# To look up a metric by its labels takes longer than to count.
_calls = functools.cache(CALLS.labels)
_seconds = functools.cache(SECONDS.labels)
# Many a second, and their outcomes are on record in the attempts: told only when they fail.
_QUIET = ("/zart.v1.DispatchService/", "/grpc.health.", "/grpc.reflection.")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler. ``access`` None: the server asks nobody who they are."""

    def __init__(self, limits: Limits, access: AccessControl | None = None) -> None:
        self._door = Door(limits, access)
        self._unasked = Entry(self._door, None, exists=True)
        self._wrapped: dict[str, Handler] = {}  # by method, where nobody is asked who they are

    async def intercept_service(  # type: ignore[override]  # the base class is generic, call by call
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a call, or stand in for one that does not exist."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        exists, access, verdict = handler is not None, self._door.access, None
        if access is None and exists:
            wrapped = self._wrapped[method] = _wrapped(method, handler, self._unasked)
            return wrapped
        if access is not None:
            metadata = handler_call_details.invocation_metadata
            verdict = await access.judge(method, metadata, exists=exists)
        entry = Entry(self._door, verdict, exists)
        if not exists or (verdict is not None and verdict.error is not None):
            # A handler of streams: the message of a call that is refused is not even read.
            return grpc.stream_stream_rpc_method_handler(_refused(method, entry))
        return _wrapped(method, handler, entry)


@dataclass(frozen=True, slots=True)
class Door:
    """What every call passes before it is looked at."""

    limits: Limits
    access: AccessControl | None


@dataclass(frozen=True, slots=True)
class Entry:
    """How one call came in. ``verdict`` None: nobody asks, or its certificate tells."""

    door: Door
    verdict: AccessVerdict | None
    exists: bool


def _refused(
    method: str, entry: Entry
) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[object]]:
    async def run() -> AsyncIterator[object]:  # of a caller who may know
        raise UnknownMethod(method)

    async def refuse(_requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[object]:
        async with aclosing(_Call(method, context, entry).stream(run)) as nothing:
            async for response in nothing:
                yield response

    return refuse


def _wrapped(method: str, handler: Handler, entry: Entry) -> Handler:
    """Return a handler of the same kind that takes raw bytes.

    One whose responses stream is an async generator, and so must the wrapped one be: what else
    wraps handlers of grpc.aio (OpenTelemetry's agent) iterates over them.
    """
    inner, make = _behavior_of(handler), _maker_of(handler)
    parse = refusing(method, handler.request_deserializer)

    kind = _kind_of(handler)

    async def asked(call: _Call, raw: Any) -> Any:  # noqa: ANN401 - a message, or an iterator
        if handler.request_streaming:
            return _all_parsed(parse, raw)
        aside.REQUEST_BYTES.set(len(raw))
        if kind is not None and len(raw) >= aside.LARGE:
            await aside.decoded(check_parts, raw, kind)
        call.request = await aside.decoded(_parse, parse, raw)
        return call.request

    async def answer(raw: Any, context: Context) -> Any:  # noqa: ANN401 - as above
        call = _Call(method, context, entry)

        async def run() -> object:
            return await inner(await asked(call, raw), context)

        return await call.answer(run)

    async def stream(raw: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        call = _Call(method, context, entry)

        async def run() -> AsyncIterator[object]:
            return cast("AsyncIterator[object]", inner(await asked(call, raw), context))

        async with aclosing(call.stream(run)) as responses:
            async for response in responses:
                yield response

    outer = stream if handler.response_streaming else answer
    return make(outer, None, handler.response_serializer)


def _behavior_of(handler: Handler) -> Callable[[Any, Context], Any]:
    kinds = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    found: Any = next(behavior for behavior in kinds if behavior is not None)
    return cast("Callable[[Any, Context], Any]", found)  # the stubs have those of threads


def _maker_of(handler: Handler) -> Callable[..., Handler]:
    return {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]


async def _all_parsed(
    parse: Callable[[bytes], Any] | None, raw: AsyncIterator[bytes]
) -> AsyncIterator[Any]:
    async for one in raw:
        yield _parse(parse, one)


def _kind_of(handler: Handler) -> Descriptor | None:
    """Return what a handler is asked with, where it is a message."""
    message = getattr(handler.request_deserializer, "__self__", None)
    kind: Descriptor | None = getattr(message, "DESCRIPTOR", None)
    return kind


def _parse(parse: Callable[[bytes], Any] | None, raw: bytes) -> Any:  # noqa: ANN401
    try:
        return raw if parse is None else parse(raw)
    except (DecodeError, ValueError):
        raise InvalidField("request", "is not the message that this method takes") from None


class _Call:
    """One call: its outcome becomes a status, a log line and a metric."""

    def __init__(self, method: str, context: Context, entry: Entry) -> None:
        self.method = method
        self.context = context
        self.request: Any = None
        self._entry = entry
        self._begun = time.monotonic()
        self._room: Room | None = None
        # Kept for the end. A stream that its caller has left may be closed by another task, when
        # gRPC has freed the call: to ask the context then ends the process.
        self._principal = ""
        self._peer = ""

    async def answer(self, run: Callable[[], Awaitable[object]]) -> object:
        """Let the call in and answer what ``run`` gives, or the status of what it raises."""
        try:
            await self._enter()
            answer = await run()
        except BaseException as error:
            await self._fail(error)
            raise
        self._leave()
        self._tell(grpc.StatusCode.OK, "")
        return answer

    async def stream(
        self, run: Callable[[], Awaitable[AsyncIterator[object]]]
    ) -> AsyncGenerator[object]:
        """Let the call in and yield what ``run`` yields; ends with the status of what it raises."""
        self._peer = self.context.peer()
        try:
            await self._enter()
            async with aclosing(cast("AsyncGenerator[object]", await run())) as responses:
                async for response in responses:
                    yield response
        except BaseException as error:
            await self._fail(error)
            raise
        self._leave()
        self._tell(grpc.StatusCode.OK, "")

    async def _enter(self) -> None:
        door = self._entry.door
        room = door.limits.room_for(self.method)
        room.enter()
        self._room = room
        if door.access is not None:
            await self._admit(door.access)

    def _leave(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.leave()

    async def _admit(self, access: AccessControl) -> None:
        """Let the rest of the call know who makes it; raises what it is refused with."""
        method, exists = self.method, self._entry.exists
        verdict = self._entry.verdict or await access.judge_certificate(
            method, self.context, exists=exists
        )
        CALLING.set(verdict.identity)
        self._principal = verdict.identity.principal
        if isinstance(verdict.error, Unauthenticated):
            access.note(verdict.error, self.context.peer())
        if verdict.error is not None:
            raise verdict.error

    async def _fail(self, error: BaseException) -> None:
        """Tell what ended the call, and raise its status where the caller is still there."""
        self._leave()
        if isinstance(error, grpc.aio.AbortError):  # e.g. health, for a service it does not know
            self._tell(self.context.code() or grpc.StatusCode.UNKNOWN, "")
        elif isinstance(error, ZartError):
            self._tell(CODES[type(error)], error.reason, error)
            access = self._entry.door.access
            if access is not None and isinstance(error, Unauthenticated):
                await access.hold(error)
            await self._abort(status_of(error))
        elif isinstance(error, Exception):  # told in full to the log, to the caller by an id
            error_id = uuid.uuid4().hex[:12]
            _log.error("defect", method=self.method, error_id=error_id, exc_info=error)
            self._tell(grpc.StatusCode.INTERNAL, "INTERNAL")
            await self._abort(internal_status(error_id))
        else:  # cancelled: by the caller, its deadline, or the server's stop
            self._tell(grpc.StatusCode.CANCELLED, "")

    async def _abort(self, status: status_pb2.Status) -> None:
        told = rpc_status.to_status(status)
        # In parts: what wraps the context to trace it (OpenTelemetry) sees this one only.
        await self.context.abort(told.code, told.details, told.trailing_metadata)

    def _tell(self, code: grpc.StatusCode, reason: str, error: ZartError | None = None) -> None:
        seconds = time.monotonic() - self._begun
        # What a caller makes up is no label: there would be no end of them.
        method = self.method if self._entry.exists else "unknown"
        _calls(method, code.name, reason).inc()
        _seconds(method).observe(seconds)
        is_quiet = code is grpc.StatusCode.OK and self.method.startswith(_QUIET)
        if is_quiet and not _LEVEL.isEnabledFor(logging.DEBUG):
            return
        log = _log.debug if is_quiet else _log.info
        said: dict[str, Any] = {
            name: cut(value, MAX_VALUE)
            for name in ("execution_id", "step_name", "task_name", "rule_id", "triggered_by",
                         "request_id", "dispatcher_id")
            if isinstance(value := getattr(self.request, name, None), str) and value
        }  # fmt: skip
        if self._principal:
            said["principal"] = self._principal
        event = "call"
        if isinstance(error, (Unauthenticated, RoleRequired)):
            event, log = "refused", _log.warning
        if isinstance(error, Unauthenticated):
            said |= {"why": error.why, "untold_failures": error.untold}
            log = _log.warning if error.retry_after is None else _log.debug  # not of a flood
        log(
            event,
            method=self.method,
            code=code.name,
            **({"reason": reason} if reason else {}),
            ms=round(seconds * 1000, 2),
            peer=self._peer or self.context.peer(),
            **said,
        )
