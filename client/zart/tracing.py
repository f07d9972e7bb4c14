"""OpenTelemetry, set up by its own variables (OTEL_*): one set-up for server and dispatcher."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Iterator, MutableMapping
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    TraceFlags,
    Tracer,
)

_log = logging.getLogger("zart.tracing")
_LAST_SPANS = 2.0  # seconds
_EXPORTER = "OTEL_TRACES_EXPORTER"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_DEFAULTS = {_EXPORTER: "otlp", _PROTOCOL: "grpc"}


def trace_as_the_environment_says(
    service: str, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Set the SDK up where a variable names an exporter or its endpoint, and no agent has done so.

    ``service`` is the name of this one unless a variable says another. Raises ValueError where the
    SDK or the exporter is not installed.
    """
    exporters = environment.get(_EXPORTER, "")
    if not exporters and not any(environment.get(name) for name in _ENDPOINTS):
        return
    if exporters == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    if tracer() is not None:
        return
    try:
        from opentelemetry.distro import (  # noqa: PLC0415 - of the extra
            OpenTelemetryConfigurator,
        )
    except ImportError:
        raise ValueError(f"{_EXPORTER}: tracing takes pip install 'zart-control[otel]'") from None
    for name, value in _DEFAULTS.items():
        environment[name] = environment.get(name) or value
    is_named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    configurator: Any = OpenTelemetryConfigurator  # without types
    try:
        configurator().configure(resource_attributes={} if is_named else {"service.name": service})
    except RuntimeError as error:  # no exporter, sampler or the like has that name
        raise ValueError(
            f"OTEL_*: {error}; zart-control[otel] brings the exporters console and otlp (by gRPC),"
            " others have packages of their own"
        ) from None


def tracer() -> Tracer | None:
    """Return what makes spans; None where this process does not trace."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, (ProxyTracerProvider, NoOpTracerProvider)):
        return None
    return provider.get_tracer("zart", version("zart-control"))


def flush() -> None:
    """Export what has ended, at the end of the process: for two seconds at most.

    By itself the SDK would export batch after batch as Python ends, each with repeats.
    """
    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shutdown is None:  # no SDK's
        return
    atexit.unregister(shutdown)
    exporting = threading.Thread(target=shutdown, name="zart-last-spans", daemon=True)
    exporting.start()
    exporting.join(_LAST_SPANS)
    if exporting.is_alive():
        _log.warning("the last spans are lost: they are not exported within %g s", _LAST_SPANS)


@contextlib.contextmanager
def flushed(*, is_process: bool = True) -> Iterator[None]:
    """Flush at the end of what is all that its process does, if it is."""
    try:
        yield
    finally:
        if is_process:
            flush()


def remote(traceparent: str) -> Span:
    """Return the span that a valid traceparent names, made elsewhere."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return NonRecordingSpan(
        SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True,
            trace_flags=TraceFlags(int(flags, 16)),
        )
    )  # fmt: skip
