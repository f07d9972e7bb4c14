"""The span of a request over HTTP, between that of its caller and those of the server.

One is made only where this process traces; the call of the server is then the span's child. Names
and attributes are those of https://opentelemetry.io/docs/specs/semconv/http/http-spans.
"""

from __future__ import annotations

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from starlette.requests import Request

from zart.gateway.bindings import Binding
from zart.trace_context import HEADER, valid
from zart.tracing import remote

# Many a second and of no trace, unless their callers say so.
_QUIET = "/zart.v1.DispatchService/"
_DEFECT = 500  # from this status on it is not the caller's


def begin_span(tracer: Tracer, binding: Binding, request: Request) -> Span | None:
    """Begin the span of a request, and let what it does be within it; None: it has none.

    Its parent is the current span, if an agent has made one, else the one that the caller told.
    Every request is served in a task of its own, so nothing has to be taken back.
    """
    told = valid(request.headers.get(HEADER, ""))
    if not told and binding.rpc_path.startswith(_QUIET):
        return None
    around = context.get_current()
    if told and not trace.get_current_span().get_span_context().is_valid:
        around = trace.set_span_in_context(remote(told))
    attributes = {
        "http.request.method": binding.http_method,
        "http.route": binding.path,
        "url.path": request.scope["path"],
        "url.scheme": request.scope["scheme"],
    }
    name = f"{binding.http_method} {binding.path}"
    span = tracer.start_span(name, around, SpanKind.SERVER, attributes)
    context.attach(trace.set_span_in_context(span, around))
    return span


def end_span(span: Span, code: str) -> None:
    """End the span of a request by its HTTP status, as the log has it."""
    status = int(code) if code.isdigit() else _DEFECT
    if code.isdigit():
        span.set_attribute("http.response.status_code", status)
    if status >= _DEFECT:
        span.set_attribute("error.type", code)
        span.set_status(StatusCode.ERROR)
    span.end()
