"""Each line about one attempt says which one it is, and of which trace, whoever logs it."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
from client.test_reporting import reporting
from opentelemetry.sdk.trace import TracerProvider
from tracing import traced
from waiting import GIVE_UP, until

from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.attempt_trace import AttemptTraces
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.leases import LeaseKeeper
from zart.json_log import JsonFormatter
from zart.v1 import dispatch_service_pb2 as pb

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FIELDS = {
    "execution_id": "x", "run_number": 3, "step_name": "b", "attempt": 2, "trace_id": TRACE,
}  # fmt: skip


def leased(traceparent: str = f"00-{TRACE}-00f067aa0ba902b7-01") -> InHand:
    """Return an attempt in hand, of a caller's trace if one is told."""
    task = pb.LeasedTask(
        task_id="0", run_id="x:run:3", execution_id="x", run_number=3, task_name="t",
        step_name="b", attempt=2, traceparent=traceparent,
    )  # fmt: skip
    (in_hand,) = in_hand_of([task], 0.0)
    return in_hand


def told(caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, object]]:
    """Return the lines of the dispatcher, and the fields that each has."""
    return {
        record.getMessage(): {name: vars(record).get(name) for name in FIELDS}
        for record in caplog.records
        if record.name.startswith("zart.dispatcher.")
    }


def test_a_lease_that_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    LeaseKeeper._lose([leased()], "the server gave it up")
    assert told(caplog) == {"x:run:3/b: the lease is lost, the server gave it up": FIELDS}


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (pb.REPORT_STATUS_LEASE_LOST, "the lease was lost, its outcome is dropped"),
        (pb.REPORT_STATUS_REJECTED, "the outcome was rejected: "),
    ],
)
async def test_an_outcome_that_is_not_taken(
    caplog: pytest.LogCaptureFixture, status: pb.ReportStatus.ValueType, line: str
) -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.server.status = status
        made.reporter.report(leased(), pb.TaskOutcome(task_id="0"))
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert told(caplog) == {f"x:run:3/b: {line}": FIELDS}


async def test_an_outcome_that_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its call fails, with it alone; and fails once more after its lease was given up."""
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = 0
        in_hand = leased()
        made.reporter.report(in_hand, pb.TaskOutcome(task_id="0"))
        await until(lambda: any("refused" in line for line in told(caplog)))
        in_hand.given_up = True
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    lines = {line: fields for line, fields in told(caplog).items() if "x:run:3/b: " in line}
    refused, dropped = lines
    assert refused.startswith("an outcome is refused, also by itself, a repeat follows: x:run:3/b:")
    assert dropped.startswith("x:run:3/b: the lease was lost, its outcome is dropped: ")
    assert list(lines.values()) == [FIELDS, FIELDS]


def test_one_that_nobody_else_traces_is_of_the_trace_of_its_own_span() -> None:
    in_hand = leased(traceparent="")
    assert "trace_id" not in fields_of(in_hand)
    with AttemptTraces(TracerProvider().get_tracer("zart")).within(in_hand):
        assert in_hand.span is not None
        trace_id = in_hand.span.get_span_context().trace_id
    assert fields_of(in_hand)["trace_id"] == f"{trace_id:032x}"


def test_a_line_keeps_its_trace_within_another() -> None:
    log = logging.getLogger("tests.lines_of_attempts")
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(JsonFormatter(tracebacks=False))
    log.addHandler(handler)
    with traced(7) as (other, span_id):
        log.warning("of the attempt", extra=fields_of(leased()))
        log.warning("of none")
    log.removeHandler(handler)
    own, current = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (own["trace_id"], "span_id" in own) == (TRACE, False)
    assert (current["trace_id"], current["span_id"]) == (other, span_id)
