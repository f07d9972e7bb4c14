"""The outermost interceptor: it alone lets in, parses requests, answers errors, logs and counts.

For all four kinds of calls, health, reflection and unknown methods included. Without it a
malformed request or an exception would reach the caller as text of the server's own.
"""

from __future__ import annotations

import inspect
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

from zart_server.api.access import Access
from zart_server.api.context import Context
from zart_server.api.errors import CODES, internal_status, status_of
from zart_server.api.identity import principal
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
# Many a second, and their outcomes are on record in the attempts: told only when they fail.
_QUIET = ("/zart.v1.DispatchService/", "/grpc.health.", "/grpc.reflection.")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler. ``access`` None: the server asks nobody who they are."""

    def __init__(self, limits: Limits, access: Access | None = None) -> None:
        self._door = Door(limits, access)

    async def intercept_service(  # type: ignore[override]  # the base class is generic, call by call
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of a call, or stand in for one that does not exist."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(_unknown(method, self._door))
        return _wrapped(method, handler, self._door)


@dataclass(frozen=True, slots=True)
class Door:
    """What every call passes before it is looked at."""

    limits: Limits
    access: Access | None


def _unknown(method: str, door: Door) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def refuse(_requests: AsyncIterator[bytes], context: Context) -> None:
        async def run() -> None:
            raise UnknownMethod(method)

        await _Call(method, context, door, exists=False).guard(run)

    return refuse


def _wrapped(method: str, handler: Handler, door: Door) -> Handler:
    """Give a handler of the same kind that takes raw bytes."""
    parse = handler.request_deserializer
    if handler.request_streaming:
        inner = handler.stream_stream if handler.response_streaming else handler.stream_unary

        async def requests(raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for one in raw:
                yield _parse(parse, one)

        async def streaming(raw: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401
            call = _Call(method, context, door)
            return await call.guard(lambda: _drive(inner, requests(raw), context))

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(streaming, None, handler.response_serializer)
    inner = handler.unary_stream if handler.response_streaming else handler.unary_unary

    async def unary(raw: bytes, context: Context) -> Any:  # noqa: ANN401 - a response of any type
        call = _Call(method, context, door)

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

    def __init__(self, method: str, context: Context, door: Door, *, exists: bool = True) -> None:
        self.method = method
        self.context = context
        self.request: Any = None
        self._door = door
        self._exists = exists
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
        room = self._door.limits.room_for(self.method)
        room.enter()
        try:
            if self._door.access is not None:
                await self._door.access.admit(self.method, self.context, exists=self._exists)
            return await run()
        finally:
            room.leave()

    async def _abort(self, status: status_pb2.Status) -> None:
        await self.context.abort_with_status(rpc_status.to_status(status))

    def _tell(self, code: grpc.StatusCode, reason: str, error: ZartError | None = None) -> None:
        seconds = time.monotonic() - self._begun
        # What a caller makes up is no label: there would be no end of them.
        method = self.method if self._exists else "unknown"
        CALLS.labels(method, code.name, reason).inc()
        SECONDS.labels(method).observe(seconds)
        is_quiet = code is grpc.StatusCode.OK and self.method.startswith(_QUIET)
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
