"""The trace that a piece of code belongs to, as W3C's Trace Context writes it.

OpenTelemetry is asked only where it is loaded: a process that never loads it pays nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

HEADER = "traceparent"
_VALID = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


def valid(traceparent: str) -> str:
    """Return a traceparent in the form of version 00; empty where it is none."""
    found = _VALID.fullmatch(traceparent)
    if found is None or (traceparent.startswith("00") and found[4]):
        return ""
    return f"00-{found[1]}-{found[2]}-{found[3]}"


def trace_id_of(traceparent: str | None) -> str:
    """Return the trace id in a valid traceparent; empty where there is none."""
    return traceparent[3:35] if traceparent else ""


def current_ids() -> tuple[str, str] | None:
    """Return trace id and span id of the current span; None where there is none."""
    context = _current()
    return None if context is None else (f"{context.trace_id:032x}", f"{context.span_id:016x}")


def current_traceparent() -> str:
    """Return the traceparent of the current span; empty where there is none."""
    context = _current()
    return "" if context is None else traceparent_of(context)


def traceparent_of(context: Any) -> str:  # noqa: ANN401 - a SpanContext, whose type nobody has loaded
    """Return the traceparent of a span's context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def traced(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the keyword arguments by which a call of gRPC carries the trace that it belongs to.

    That is the current span's, else that of the variable TRACEPARENT, as a program has it that was
    started within a trace. Without either there are none.
    """
    found = current_traceparent() or valid(environment.get("TRACEPARENT", ""))
    return {"metadata": ((HEADER, found),)} if found else {}


def _current() -> Any:  # noqa: ANN401 - as above, or None
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None
