"""How an attempt begins and is told, also where its lease has ended or tracing fails."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, nullcontext
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest
from client.no_threads import no_more_threads
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

import zart
from zart.calls.call import span
from zart.dispatcher.attempt_trace import AttemptTraces
from zart.dispatcher.attempts import Attempts
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import failed_with
from zart.dispatcher.threads import Threads
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

NOTHING = nullcontext()
TASK = zart.Task("t")
TASK.step(name="a")(lambda _: None)


def leased(waited: float = 0.0) -> InHand:
    """Make a task in hand that was leased so many seconds ago."""
    task = pb.LeasedTask(
        task_name="t", step_name="a", handler="a", timeout=span(60), lease_ttl=span(30)
    )
    (in_hand,) = in_hand_of([task], time.monotonic() - waited)
    return in_hand


async def told_of(
    in_hand: InHand,
    begun: list[InHand],
    traces: AttemptTraces | None = None,
    meanwhile: AbstractContextManager[None] = NOTHING,
) -> pb.TaskOutcome:
    """Run an attempt and return what is told of it."""
    told: list[pb.TaskOutcome] = []

    def report(of: InHand, what: pb.TaskOutcome) -> None:
        of.ended_at = time.monotonic()
        told.append(what)

    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        stub: Any = DispatchServiceStub(channel)
        with closing(Threads(1)) as threads:
            attempts = Attempts(stub, [TASK], threads, report, lambda _: None, 2**28)
            attempts._traces = traces or attempts._traces
            with meanwhile:
                await attempts.run(in_hand, begun.append)
    (found,) = told
    return found


@pytest.mark.parametrize(
    ("waited", "outcome"), [(0.0, "completed"), (31.0, "released")], ids=["in time", "too late"]
)
async def test_it_begins_only_within_its_lease(waited: float, outcome: str) -> None:
    begun: list[InHand] = []
    found = await told_of(leased(waited), begun)
    assert found.WhichOneof("outcome") == outcome
    assert found.released.not_begun == (outcome == "released")
    assert bool(begun) == (outcome == "completed")


async def test_one_that_has_no_thread_is_given_back_as_not_begun(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_hand = leased()
    found = await told_of(in_hand, [], meanwhile=no_more_threads())
    assert found.released.not_begun
    assert found.released.retry_after.seconds == 5
    assert not in_hand.is_handled
    assert "no thread can be started, plain steps are given back" in caplog.text


class Unable(Sampler, SpanProcessor):
    """What cannot begin a span, nor end one."""

    def should_sample(self, *_: Any, **__: Any) -> Any:
        raise LookupError("no sample")

    def get_description(self) -> str:
        return "unable"

    def on_end(self, *_: Any) -> None:
        raise LookupError("no end")


async def test_what_cannot_be_traced_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    traces = AttemptTraces(TracerProvider(sampler=Unable()).get_tracer("zart"))
    found = await told_of(leased(), [], traces)
    assert found.HasField("completed")
    assert "an attempt is not traced: builtins.LookupError" in caplog.text
    assert "no sample" not in caplog.text


def test_an_outcome_is_reported_though_its_span_cannot_be_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else nobody would ever tell of the attempt, and its lease be extended for ever."""
    dispatcher, in_hand, reported = zart.Dispatcher([TASK]), leased(), list[InHand]()
    reporter: Any = SimpleNamespace(report=lambda of, _outcome: reported.append(of))
    dispatcher._reporter = reporter
    provider = TracerProvider()
    provider.add_span_processor(Unable())
    in_hand.span = provider.get_tracer("zart").start_span("a")
    dispatcher._report(in_hand, failed_with(in_hand, ValueError()))
    assert reported == [in_hand]
    assert "the span of an attempt is not ended: builtins.LookupError" in caplog.text
