"""The trace that a call belongs to, and the span of the call.

A span is made only where this process traces (an SDK of OpenTelemetry is set up) or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import grpc
from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Tracer

from zart.trace_context import HEADER, traceparent_of, valid
from zart.tracing import remote

# Every call is served in a task of its own, so nothing has to be taken back.
_TOLD: ContextVar[str] = ContextVar("traceparent", default="")
# Many a second and of no trace, unless their callers say so.
_QUIET = ("/zart.v1.DispatchService/", "/grpc.health.", "/grpc.reflection.")
# Of the server: https://opentelemetry.io/docs/specs/semconv/rpc/grpc. A refusal is its caller's.
_ERRORS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def note(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """Note the trace that a call's metadata tell, for the rest of the call."""
    for key, value in metadata:
        if key == HEADER and isinstance(value, str):
            _TOLD.set(valid(value))


def traceparent() -> str | None:
    """Return what is stored with what the call starts; None: its caller told no trace."""
    return _TOLD.get() or None


def begin(tracer: Tracer | None, method: str) -> Span | None:
    """Begin the span of a call, and let what the call does be within it; None: there is none.

    Its parent is the current span, if an agent has made one, else the one that the caller told. A
    caller's trace goes on without a span of ours if this process does not trace.
    """
    told = _TOLD.get()
    if tracer is None:
        if told and not trace.get_current_span().get_span_context().is_valid:
            context.attach(trace.set_span_in_context(remote(told)))
        return None
    if not told and method.startswith(_QUIET):
        return None
    around = context.get_current()
    if told and not trace.get_current_span().get_span_context().is_valid:
        around = trace.set_span_in_context(remote(told))
    name = method.removeprefix("/")
    service, _, rpc = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc}
    span = tracer.start_span(name, around, SpanKind.SERVER, attributes)
    context.attach(trace.set_span_in_context(span, around))
    if told:
        _TOLD.set(traceparent_of(span.get_span_context()))
    return span


def end(span: Span, code: grpc.StatusCode, reason: str) -> None:
    """End the span of a call."""
    status: Any = code.value
    span.set_attribute("rpc.grpc.status_code", status[0])
    if reason:
        span.set_attribute("zart.reason", reason)
    if code in _ERRORS:
        span.set_attribute("error.type", code.name)
        span.set_status(trace.StatusCode.ERROR)
    span.end()
