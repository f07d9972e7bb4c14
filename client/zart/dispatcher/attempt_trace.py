"""The spans of attempts, children of the call that started the execution, and of their handlers.

No span has text of an error or anything of a payload: where spans go, other people read.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer

from zart.dispatcher.attempt_ids import AttemptIds
from zart.dispatcher.in_hand import InHand
from zart.trace_context import valid
from zart.tracing import remote
from zart.v1 import dispatch_service_pb2 as pb

_NOTHING = contextlib.nullcontext()
_ERRORS = frozenset({"failed", "timed_out", "lost"})  # outcomes
_KEPT = 10_000  # steps whose last attempt here is known, for the link of the next


class AttemptTraces:
    """The spans of one dispatcher. Where it traces nothing and no caller does, it makes none.

    Each is linked to that of the attempt before: within a caller's trace whoever made that, else,
    as each attempt begins a trace then, if this dispatcher did. That one may not have begun, so
    if the last that this dispatcher began is an earlier one, it is linked to that as well.
    """

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer
        self._ids = AttemptIds(tracer)
        self._last: OrderedDict[tuple[str, str], tuple[int, SpanContext]] = OrderedDict()

    def concern(self, in_hand: InHand) -> bool:
        """Return whether an attempt belongs to a trace, of its caller or of its own."""
        return self._tracer is not None or bool(in_hand.task.traceparent)

    @contextlib.contextmanager
    def within(self, in_hand: InHand) -> Iterator[None]:
        """Let what is done be within the attempt's trace; the attempt's span ends when it does."""
        told = valid(in_hand.task.traceparent)
        around = trace.set_span_in_context(remote(told)) if told else context.get_current()
        if self._tracer is not None:
            in_hand.span = self._begin(self._tracer, in_hand, around)
            around = trace.set_span_in_context(in_hand.span, around)
        token = context.attach(around)
        try:
            yield
        finally:
            context.detach(token)
            if in_hand.span is not None and in_hand.span.is_recording():  # its lease was lost
                _end(in_hand.span, "dropped")

    def handling(self, in_hand: InHand) -> AbstractContextManager[object]:
        """Let what the handler does be within a span of its own, if the attempt has one."""
        if self._tracer is None or in_hand.span is None:
            return _NOTHING
        return _handling(self._tracer, in_hand)

    def _begin(self, tracer: Tracer, in_hand: InHand, around: Context) -> Span:
        task = in_hand.task
        links = self._links(task)
        with self._ids.of(task):
            span = tracer.start_span(
                f"{task.task_name}/{task.step_name}",
                around,
                SpanKind.CONSUMER,
                {
                    "zart.execution_id": task.execution_id,
                    "zart.run_number": task.run_number,
                    "zart.task_name": task.task_name,
                    "zart.step_name": task.step_name,
                    "zart.attempt": task.attempt,
                },
                links,
            )
        self._last[task.run_id, task.step_name] = task.attempt, span.get_span_context()
        while len(self._last) > _KEPT:
            self._last.popitem(last=False)
        return span

    def _links(self, task: pb.LeasedTask) -> list[Link]:
        number, own = self._last.pop((task.run_id, task.step_name), (0, None))
        previous = own if number == task.attempt - 1 else self._ids.before(task)
        found = {"previous attempt": previous}
        if number < task.attempt - 1:
            found["earlier attempt"] = own
        return [Link(each, {"zart.link": what}) for what, each in found.items() if each is not None]


def end_span(in_hand: InHand, outcome: pb.TaskOutcome) -> None:
    """End the span of an attempt, if it has one, as its outcome says; so it is with its handler's.

    That one ends once the handler does, which may be later.
    """
    if in_hand.span is not None:
        kind = outcome.WhichOneof("outcome") or ""
        error = outcome.failed.error.type if kind == "failed" else kind
        handling = in_hand.handler_span
        if handling is not None and handling.is_recording() and kind in _ERRORS:
            _fail(handling, error)
        _end(in_hand.span, kind, error)


@contextlib.contextmanager
def _handling(tracer: Tracer, in_hand: InHand) -> Iterator[None]:
    with tracer.start_as_current_span(
        f"handle {in_hand.task.handler}", record_exception=False, set_status_on_exception=False
    ) as span:
        in_hand.handler_span = span
        try:
            yield
        except BaseException as error:  # one that its outcome is made of once this span has ended
            _fail(span, type(error).__name__)
            raise


def _end(span: Span, kind: str, error: str = "") -> None:
    span.set_attribute("zart.outcome", kind)
    if kind in _ERRORS:
        _fail(span, error)
    span.end()


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR, error)
