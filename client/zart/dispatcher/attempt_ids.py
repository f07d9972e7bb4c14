"""Ids of the spans of attempts that any dispatcher knows, also of those that another one makes.

So the next attempt can be linked to one that it knows nothing else of. An id is derived from the
trace that the execution belongs to, and from which attempt it is; so it is another one in each.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags, Tracer

from zart.trace_context import valid
from zart.v1 import dispatch_service_pb2 as pb

_wanted: ContextVar[int | None] = ContextVar("the id of the next span", default=None)
_BYTES = 8


def attempt_span_id(traceparent: str, run_id: str, step_name: str, attempt: int) -> int:
    """Return the id of an attempt's span, never 0: the beginning of a SHA-256 of all of it."""
    named = "\n".join((traceparent, run_id, step_name, str(attempt)))
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:_BYTES]) or 1


class _Ids:
    """What an SDK takes ids from: the wanted one, else whatever it has by itself."""

    def __init__(self, own: Any) -> None:  # noqa: ANN401 - an IdGenerator, of the extra
        self._own = own

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        return self._own.generate_span_id() if wanted is None else wanted

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else an IdGenerator has
        return getattr(self._own, name)


class AttemptIds:
    """The derived ids, where spans are made by OpenTelemetry's own SDK: others take no ids."""

    def __init__(self, tracer: Tracer | None) -> None:
        own = getattr(tracer, "id_generator", None)
        self.are_known = own is not None
        if tracer is not None and self.are_known and not isinstance(own, _Ids):
            tracer.id_generator = _Ids(own)  # type: ignore[attr-defined]  # the SDK's Tracer has it

    @contextlib.contextmanager
    def of(self, task: pb.LeasedTask) -> Iterator[None]:
        """Give the span that is begun within this the id of an attempt within a trace."""
        told = valid(task.traceparent)
        if not told:
            yield
            return
        wanted = attempt_span_id(told, task.run_id, task.step_name, task.attempt)
        token = _wanted.set(wanted)
        try:
            yield
        finally:
            _wanted.reset(token)

    def before(self, task: pb.LeasedTask) -> SpanContext | None:
        """Return the span of the attempt before, whoever made it; None: it is not known."""
        told = valid(task.traceparent)
        if not (self.are_known and told) or task.attempt == 1:
            return None
        _, trace_id, _, flags = told.split("-")
        before = attempt_span_id(told, task.run_id, task.step_name, task.attempt - 1)
        return SpanContext(
            int(trace_id, 16), before, is_remote=True, trace_flags=TraceFlags(int(flags, 16))
        )
