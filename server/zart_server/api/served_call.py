"""One call of any kind: let in, answered or refused, logged and counted."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status
from opentelemetry.trace import Span, Tracer

from zart_server.api import call_line, call_trace
from zart_server.api.access import AccessControl, AccessVerdict
from zart_server.api.attempted import is_refusal
from zart_server.api.audit_trail import AuditTrail
from zart_server.api.audited import AUDITED
from zart_server.api.call_metrics import calls, operations, seconds
from zart_server.api.context import Context
from zart_server.api.errors import CODES, internal_status, status_of
from zart_server.api.identity import CALLING
from zart_server.api.limits import CallLimit, Limits, Share, SharedLimit
from zart_server.api.peer import address_of
from zart_server.api.record_limit import Origin
from zart_server.domain.errors import (
    InvalidCredentials,
    RoleRequired,
    Unauthenticated,
    ZartError,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Door:
    """What every call passes before it is looked at."""

    limits: Limits
    trail: AuditTrail
    access: AccessControl | None
    tracer: Tracer | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """How one call came in. ``verdict`` None: nobody asks, or its certificate tells."""

    door: Door
    verdict: AccessVerdict | None
    exists: bool


class ServedCall:
    """One call: its outcome becomes a status, a log line and a metric."""

    def __init__(self, method: str, context: Context, entry: Entry, peer: str = "") -> None:
        self.method = method
        self.context = context
        self.request: Any = None
        # Reads what the call says, for the record of its refusal alone; None of what it does not.
        self.unread: Callable[[], Awaitable[Any]] | None = None
        self._entry = entry
        self._begun = time.monotonic()
        self._limit: CallLimit | Share | None = None
        self._span: Span | None = None
        self._is_done = False  # whatever becomes of the stream that goes on
        # Kept for the end. A stream that its caller has left may be closed by another task, when
        # gRPC has freed the call: to ask the context then ends the process.
        self._principal = ""
        self._peer = peer

    async def answer(self, run: Callable[[], Awaitable[object]]) -> object:
        """Admit the call and return the answer of ``run``; abort with the status of its error."""
        self._span = call_trace.begin(self._entry.door.tracer, self.method)
        try:
            await self._enter()
            answer = await run()
        except BaseException as error:
            await self._fail(error)
            raise
        self._leave()
        self._tell(grpc.StatusCode.OK, "")
        is_planned = getattr(answer, "planned", False)
        self._count("planned" if is_planned else "done")
        if is_planned:
            self._entry.door.trail.planned(self.method, self.request, self._origin())
        return answer

    async def outcome(self, run: Callable[[], Awaitable[T]]) -> T | status_pb2.Status:
        """Admit a call that came within a stream; return its answer, or the status of its error."""
        try:
            await self._enter(within_stream=True)
            answer = await run()
        except BaseException as error:
            status = await self._told(error)
            if status is None:
                raise
            return status
        self._leave()
        self._tell(grpc.StatusCode.OK, "")
        return answer

    async def stream(
        self, run: Callable[[], Awaitable[AsyncIterator[object]]]
    ) -> AsyncGenerator[object]:
        """Admit the call and yield what ``run`` yields; abort with the status of its error."""
        self._peer = self.context.peer()
        self._span = call_trace.begin(self._entry.door.tracer, self.method)
        try:
            await self._enter()
            async with aclosing(cast("AsyncGenerator[object]", await run())) as responses:
                async for response in responses:
                    self.responds()
                    yield response
        except BaseException as error:
            await self._fail(error)
            raise
        self._leave()
        self._tell(grpc.StatusCode.OK, "")

    async def writing(self, run: Callable[[], Awaitable[object]]) -> object:
        """Admit the call and return its last response; ``run`` says when it ``responds``."""
        self._peer = self.context.peer()
        self._span = call_trace.begin(self._entry.door.tracer, self.method)
        try:
            await self._enter()
            last = await run()
        except BaseException as error:
            await self._fail(error)
            raise
        self.responds()
        self._leave()
        self._tell(grpc.StatusCode.OK, "")
        return last

    def responds(self) -> None:
        """Take note of a response: the first of a stream tells it is done, all others tell more."""
        if not self._is_done:
            self._is_done = True
            self._count("done")

    async def _enter(self, *, within_stream: bool = False) -> None:
        door = self._entry.door
        self._limit = door.limits.enter(self.method, within_stream=within_stream)
        if door.access is not None:
            await self._admit(door.access)
            self._share()

    def _share(self) -> None:
        """Have the caller, where it is known, no more than its part. Raises ServerBusy."""
        if self._principal and isinstance(self._limit, SharedLimit):
            self._limit = self._limit.share(self._principal)

    def _leave(self) -> None:
        limit, self._limit = self._limit, None
        if limit is not None:
            limit.leave()

    async def _admit(self, access: AccessControl) -> None:
        """Set the caller's identity for the rest of the call. Raises the reason of a refusal."""
        method, exists = self.method, self._entry.exists
        verdict = self._entry.verdict or await access.judge_certificate(
            method, self.context, exists=exists
        )
        CALLING.set(verdict.identity)
        self._principal = verdict.identity.principal
        if verdict.error is not None:
            if isinstance(verdict.error, RoleRequired) and self.unread is not None:
                self.request = await self.unread()
            raise self._noted(access, verdict.error)

    def _noted(self, access: AccessControl, error: Exception) -> Exception:
        """Count a failure of the caller's address, and return what the call is refused with."""
        peer = self._peer or self.context.peer()
        if isinstance(error, Unauthenticated):
            access.note(error, peer)
        elif not isinstance(error, ZartError):  # a defect, by whatever was shown
            counted = InvalidCredentials("it brought about a defect")
            access.note(counted, peer)
            if counted.retry_after is not None:  # else the log had each of them in full
                return counted
        return error

    async def _fail(self, error: BaseException) -> None:
        """Log what ended the call, and abort with its status if the caller is still there."""
        status = await self._told(error)
        if status is not None:
            await self._abort(status)

    async def _told(self, error: BaseException) -> status_pb2.Status | None:
        """Log what ended the call, and return the status to end it with; None: it has ended."""
        self._leave()
        if isinstance(error, grpc.aio.AbortError):  # e.g. health, for a service it does not know
            self._tell(self.context.code() or grpc.StatusCode.UNKNOWN, "")
        elif isinstance(error, ZartError):
            self._tell(CODES[type(error)], error.reason, error)
            door = self._entry.door
            if not self._is_done:
                self._count("refused" if is_refusal(error) else "failed")
                door.trail.refused(self.method, self.request, error, self._origin())
            access = door.access
            if access is not None and isinstance(error, Unauthenticated):
                await access.delay(error)
            return status_of(error)
        elif isinstance(error, Exception):  # told in full to the log, to the caller by an id
            error_id = uuid.uuid4().hex[:12]
            call_line.tell_defect(self.method, error_id, error)
            self._tell(grpc.StatusCode.INTERNAL, "INTERNAL")
            if not self._is_done:
                self._count("failed")
            return internal_status(error_id)
        else:  # cancelled: by the caller, its deadline, or the server's stop
            self._tell(grpc.StatusCode.CANCELLED, "")
        return None

    def _count(self, outcome: str) -> None:
        """Count the operation that the call asks for, if it asks for one."""
        if (kind := AUDITED.get(self.method)) is not None:
            operations(kind.value, outcome).inc()

    def _origin(self) -> Origin:
        return Origin(self._principal, address_of(self._peer or self.context.peer()))

    async def _abort(self, status: status_pb2.Status) -> None:
        told = rpc_status.to_status(status)
        # In parts: what wraps the context to trace it (OpenTelemetry) sees this one only.
        await self.context.abort(told.code, told.details, told.trailing_metadata)

    def _tell(self, code: grpc.StatusCode, reason: str, error: ZartError | None = None) -> None:
        took = time.monotonic() - self._begun
        # What a caller makes up is no label: there would be no end of them.
        method = self.method if self._entry.exists else "unknown"
        name = code.name
        calls(method, name, reason).inc()
        seconds(method).observe(took)
        if self._span is not None:
            call_trace.end(self._span, code, reason)
        level = call_line.level_of(self.method, code, error)
        if level is None:
            return
        line: dict[str, object] = {"method": self.method, "code": name}
        if reason:
            line["reason"] = reason
        line["ms"] = round(took * 1000, 2)
        line["peer"] = self._peer or self.context.peer()
        if self._principal:
            line["principal"] = self._principal
        call_line.tell(level, line, self.request, error)
