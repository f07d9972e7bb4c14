"""The outermost interceptor: it alone lets in, parses requests, answers errors, logs and counts.

For all four kinds of calls, health, reflection and unknown methods included. Without it a
malformed request or an exception would reach the caller as text of the server's own.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_status import rpc_status

from zart_server.api.access import Access, Verdict
from zart_server.api.context import Context
from zart_server.api.errors import CODES, internal_status, status_of
from zart_server.api.identity import CALLING, principal
from zart_server.api.limits import Limits
from zart_server.domain.errors import (
    InvalidField,
    RoleRequired,
    Unauthenticated,
    UnknownMethod,
    ZartError,
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

    def __init__(self, limits: Limits, access: Access | None = None) -> None:
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
    access: Access | None


@dataclass(frozen=True, slots=True)
class Entry:
    """How one call came in. ``verdict`` None: nobody asks, or its certificate tells."""

    door: Door
    verdict: Verdict | None
    exists: bool


def _refused(
    method: str, entry: Entry
) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def refuse(_requests: AsyncIterator[bytes], context: Context) -> None:
        async def run() -> None:  # of a caller who may know
            raise UnknownMethod(method)

        await _Call(method, context, entry).guard(run)

    return refuse


def _wrapped(method: str, handler: Handler, entry: Entry) -> Handler:
    """Give a handler of the same kind that takes raw bytes."""
    parse = handler.request_deserializer
    if handler.request_streaming:
        inner = handler.stream_stream if handler.response_streaming else handler.stream_unary

        async def requests(raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for one in raw:
                yield _parse(parse, one)

        async def streaming(raw: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401
            call = _Call(method, context, entry)
            return await call.guard(lambda: _drive(inner, requests(raw), context))

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(streaming, None, handler.response_serializer)
    inner = handler.unary_stream if handler.response_streaming else handler.unary_unary

    async def unary(raw: bytes, context: Context) -> Any:  # noqa: ANN401 - a response of any type
        call = _Call(method, context, entry)

        async def run() -> object:
            call.request = _parse(parse, raw)
            return await _drive(inner, call.request, context)

        return await call.guard(run)

    make = (
        grpc.unary_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(unary, None, handler.response_serializer)


def _parse(parse: Callable[[bytes], Any] | None, raw: bytes) -> Any:  # noqa: ANN401
    try:
        return raw if parse is None else parse(raw)
    except (DecodeError, ValueError):
        raise InvalidField("request", "is not the message that this method takes") from None


async def _drive(inner: Any, request: Any, context: Context) -> object:  # noqa: ANN401
    """Run a handler, whether it answers, writes, or yields."""
    answer = inner(request, context)
    if inspect.isasyncgen(answer):
        async for response in answer:
            await context.write(response)
        return None
    found: object = await answer
    return found


class _Call:
    """One call: its outcome becomes a status, a log line and a metric."""

    def __init__(self, method: str, context: Context, entry: Entry) -> None:
        self.method = method
        self.context = context
        self.request: Any = None
        self._entry = entry
        self._begun = time.monotonic()

    async def guard(self, run: Callable[[], Awaitable[object]]) -> object:
        """Let the call in and answer what ``run`` gives, or the status of what it raises."""
        try:
            answer = await self._let_in(run)
        except grpc.aio.AbortError:  # e.g. health, for a service it does not know
            self._tell(self.context.code() or grpc.StatusCode.UNKNOWN, "")
            raise
        except ZartError as error:
            self._tell(CODES[type(error)], error.reason, error)
            access = self._entry.door.access
            if access is not None and isinstance(error, Unauthenticated):
                await access.hold(error)  # its place among the calls is free by now
            await self._abort(status_of(error))
        except Exception:  # noqa: BLE001 - told in full to the log, to the caller by an id
            error_id = uuid.uuid4().hex[:12]
            _log.exception("defect", method=self.method, error_id=error_id)
            self._tell(grpc.StatusCode.INTERNAL, "INTERNAL")
            await self._abort(internal_status(error_id))
        except BaseException:  # cancelled: by the caller, its deadline, or the server's stop
            self._tell(grpc.StatusCode.CANCELLED, "")
            raise
        else:
            self._tell(grpc.StatusCode.OK, "")
            return answer
        return None

    async def _let_in(self, run: Callable[[], Awaitable[object]]) -> object:
        door = self._entry.door
        room = door.limits.room_for(self.method)
        room.enter()
        try:
            if door.access is not None:
                await self._admit(door.access)
            return await run()
        finally:
            room.leave()

    async def _admit(self, access: Access) -> None:
        """Let the rest of the call know who makes it; raises what it is refused with."""
        method, exists = self.method, self._entry.exists
        verdict = self._entry.verdict or await access.judge_certificate(
            method, self.context, exists=exists
        )
        CALLING.set(verdict.identity)
        if isinstance(verdict.error, Unauthenticated):
            access.note(verdict.error, self.context.peer())
        if verdict.error is not None:
            raise verdict.error

    async def _abort(self, status: status_pb2.Status) -> None:
        await self.context.abort_with_status(rpc_status.to_status(status))

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
            name: value
            for name in ("execution_id", "step_name", "task_name", "rule_id", "triggered_by",
                         "request_id", "dispatcher_id")
            if isinstance(value := getattr(self.request, name, None), str) and value
        }  # fmt: skip
        if who := principal():
            said["principal"] = who
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
            peer=self.context.peer(),
            **said,
        )
