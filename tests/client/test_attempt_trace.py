"""The span of an attempt is linked to that of the attempt before, whichever dispatcher made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, StatusCode

from zart.dispatcher.attempt_ids import AttemptIds, attempt_span_id
from zart.dispatcher.attempt_trace import AttemptTraces, end_span
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import completed, failed_with, lost, timed_out
from zart.v1 import dispatch_service_pb2 as pb

PAGE = Path(__file__).parents[2] / "docs/tracing.md"
TOLD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Dispatcher:
    """One that traces, as a process of its own does."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = AttemptTraces(provider.get_tracer("zart"))

    def run(self, attempt: int, *, told: str = TOLD, run_id: str = "x:run:0") -> ReadableSpan:
        """Run an attempt and return its span."""
        task = pb.LeasedTask(run_id=run_id, step_name="a", attempt=attempt, traceparent=told)
        (in_hand,) = in_hand_of([task], 0.0)
        self._exporter.clear()
        with self.traces.within(in_hand), self.traces.handling(in_hand):
            pass
        handled, span = self._exporter.get_finished_spans()
        assert handled.parent == span.context
        return span

    def end(self, how: Callable[[InHand], pb.TaskOutcome]) -> tuple[ReadableSpan, ReadableSpan]:
        """Run an attempt that ends so, and return its span and its handler's, which ends later."""
        (in_hand,) = in_hand_of([pb.LeasedTask(handler="a", traceparent=TOLD)], 0.0)
        with self.traces.within(in_hand), self.traces.handling(in_hand):
            end_span(in_hand, how(in_hand))
        span, handled = self._exporter.get_finished_spans()
        return span, handled


def links_of(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def id_of(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


def test_a_retry_elsewhere_is_linked_to_the_attempt_before() -> None:
    one, other = Dispatcher(), Dispatcher()
    first = one.run(1)
    second = other.run(2)
    third = one.run(3)
    assert [links_of(span) for span in (first, second, third)] == [
        [], [id_of(first)], [id_of(second), id_of(first)],
    ]  # fmt: skip
    assert [link.attributes for link in third.links] == [
        {"zart.link": "previous attempt"}, {"zart.link": "earlier attempt"},
    ]  # fmt: skip
    assert len({id_of(span) for span in (first, second, third)}) == 3
    assert {span.context.trace_flags for span in (first, second)} == {first.context.trace_flags}


def test_one_after_an_attempt_that_was_given_back_is_linked_to_the_last_that_began() -> None:
    """That one, the second, has no span, which whoever begins the third cannot know."""
    for told in (TOLD, ""):
        dispatcher = Dispatcher()
        first, third = dispatcher.run(1, told=told), dispatcher.run(3, told=told)
        link = third.links[-1]
        assert (link.context, link.attributes) == (first.context, {"zart.link": "earlier attempt"})
        assert len(third.links) == (2 if told else 1)
        assert links_of(dispatcher.run(4, told=told)) == [id_of(third)]


def test_without_a_callers_trace_one_dispatcher_knows_its_own() -> None:
    one, other = Dispatcher(), Dispatcher()
    first = one.run(1, told="")
    assert links_of(one.run(2, told="")) == [id_of(first)]
    assert links_of(other.run(3, told="")) == []
    assert links_of(other.run(2, told="")) == []  # what it knows is no earlier one
    assert id_of(Dispatcher().run(1, told="")) != id_of(first)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (lambda in_hand: failed_with(in_hand, ValueError("a secret")), "ValueError"),
        (timed_out, "timed_out"),
        (lost, "lost"),
        (lambda in_hand: completed(in_hand, 7), None),
    ],
)
def test_the_span_of_a_handler_is_an_error_where_its_attempt_is(
    how: Callable[[InHand], pb.TaskOutcome], error: str | None
) -> None:
    for span in Dispatcher().end(how):
        assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
        assert span.status.description == error
        assert dict(span.attributes or {}).get("error.type") == error
        assert span.events == ()


def test_what_ends_a_handler_but_not_its_attempt_is_an_error_of_its_span() -> None:
    """Its outcome is made of it later."""
    dispatcher = Dispatcher()
    (in_hand,) = in_hand_of([pb.LeasedTask(handler="a", traceparent=TOLD)], 0.0)
    with (
        dispatcher.traces.within(in_hand),
        pytest.raises(KeyError),
        dispatcher.traces.handling(in_hand),
    ):
        raise KeyError("a secret")
    assert isinstance(in_hand.handler_span, ReadableSpan)
    assert in_hand.handler_span.status.description == "KeyError"


def test_an_id_is_of_one_attempt_in_one_trace() -> None:
    """What docs/tracing.md says, so that a dispatcher in another language makes the same."""
    example = f"`{attempt_span_id(TOLD, 'x:run:0', 'a', 1):016x}`"
    assert example in PAGE.read_text()
    other = TOLD.replace("00f067", "00f068")
    of_it = {
        attempt_span_id(told, run, step, attempt)
        for told in (TOLD, other)
        for run in ("x:run:0", "x:run:1")
        for step in ("a", "b")
        for attempt in (1, 2)
    }
    assert len(of_it) == 16


def test_who_takes_no_ids_is_linked_to_none_that_there_may_not_be() -> None:
    task = pb.LeasedTask(run_id="r", step_name="a", attempt=2, traceparent=TOLD)
    assert AttemptIds(NoOpTracer()).before(task) is None
    assert AttemptIds(None).before(task) is None
