"""The trace of a start is stored with its run, handed to dispatchers, and kept by later runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import asyncpg
import pytest
from gateway.sending import gateway_to
from opentelemetry import context
from rig import CHAIN, Rig, specs
from waiting import GIVE_UP

import zart
from zart.calls.execution import Start
from zart.dispatcher.attempt_trace import AttemptTraces
from zart.dispatcher.in_hand import in_hand_of
from zart.json_log import EventRecord
from zart.testing.server import ServerUnderTest
from zart.trace_context import current_ids, traced, valid
from zart.v1 import dispatch_service_pb2 as dispatch_pb
from zart.v1 import execution_service_pb2 as pb
from zart_server.api import call_trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TOLD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> str:
    """The trace that this process was started within."""
    monkeypatch.setenv("TRACEPARENT", TOLD)
    return TOLD


async def stored(db: asyncpg.Connection) -> list[tuple[str, int, str | None]]:
    rows = await db.fetch(
        "SELECT execution_id, run_number, traceparent FROM zart.runs"
        " JOIN zart.executions USING (execution_key) ORDER BY 1, 2"
    )
    return [tuple(row) for row in rows]


async def leased(rig: Rig, count: int) -> Sequence[dispatch_pb.LeasedTask]:
    request = dispatch_pb.LeaseTasksRequest(dispatcher_id="d", task_names=["t"], max_tasks=count)
    rpc = rig.client.channel.unary_unary(
        "/zart.v1.DispatchService/LeaseTasks",
        request_serializer=dispatch_pb.LeaseTasksRequest.SerializeToString,
        response_deserializer=dispatch_pb.LeaseTasksResponse.FromString,
    )
    response: dispatch_pb.LeaseTasksResponse = await rpc(request, timeout=GIVE_UP)
    return response.tasks


async def test_each_way_of_starting_keeps_the_trace(
    rig: Rig, db: asyncpg.Connection, told: str
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    await rig.client.start("t", execution_id="a-inline", steps=specs(CHAIN))
    await rig.client.start("t", execution_id="b-registered")
    await rig.client.start("t", execution_id="c-again")  # in one statement
    await rig.client.batch_start_executions([Start("t", execution_id="d-batch")])
    running = rig.client.channel.unary_stream(
        "/zart.v1.ExecutionService/RunExecution",
        request_serializer=pb.RunExecutionRequest.SerializeToString,
        response_deserializer=pb.RunExecutionResponse.FromString,
    )(
        pb.RunExecutionRequest(start=pb.StartExecutionRequest(task_name="t", execution_id="e-run")),
        metadata=(("traceparent", told),),
    )
    await running.read()
    running.cancel()
    await rig.client.restart("a-inline")
    await rig.client.cancel_execution("a-inline")
    await rig.client.rerun("a-inline", force_rerun=["a"])

    runs = await stored(db)
    assert [(name, number) for name, number, _ in runs] == [
        ("a-inline", 0), ("a-inline", 1), ("a-inline", 2), ("b-registered", 0), ("c-again", 0),
        ("d-batch", 0), ("e-run", 0),
    ]  # fmt: skip
    assert {traceparent for _, _, traceparent in runs} == {told}
    tasks = await leased(rig, 10)
    assert [task.traceparent for task in tasks] == [told] * 5
    assert (await rig.client.get_execution("a-inline")).run.trace_id == TRACE


async def test_a_step_that_is_leased_along_with_a_report_has_it_too(rig: Rig, told: str) -> None:
    await rig.client.start("t", execution_id="x", steps=specs(CHAIN))
    (task,) = await leased(rig, 1)
    rpc = rig.client.channel.unary_unary(
        "/zart.v1.DispatchService/ReportTasks",
        request_serializer=dispatch_pb.ReportTasksRequest.SerializeToString,
        response_deserializer=dispatch_pb.ReportTasksResponse.FromString,
    )
    outcome = dispatch_pb.TaskOutcome(task_id=task.task_id, lease_token=task.lease_token)
    outcome.completed.result_json = "1"
    wish = dispatch_pb.LeaseNext(task_names=["t"], max_tasks=1)
    answer: dispatch_pb.ReportTasksResponse = await rpc(
        dispatch_pb.ReportTasksRequest(dispatcher_id="d", outcomes=[outcome], lease_next=wish),
        timeout=GIVE_UP,
    )
    assert [(each.step_name, each.traceparent) for each in answer.tasks] == [("b", told)]


async def test_without_a_trace_nothing_is_stored_and_no_span_is_made(
    rig: Rig, db: asyncpg.Connection
) -> None:
    await rig.client.start("t", execution_id="x", steps=specs(CHAIN))
    (task,) = await leased(rig, 1)

    assert await stored(db) == [("x", 0, None)]
    assert task.traceparent == ""
    assert traced() == {}
    assert call_trace.begin(None, "/zart.v1.ExecutionService/StartExecution") is None
    (in_hand,) = in_hand_of([task], 0.0)
    assert not AttemptTraces(None).concern(in_hand)
    assert context.get_current() == {}


async def test_a_trace_goes_through_where_nobody_makes_spans(rig: Rig, told: str) -> None:
    await rig.client.start("t", execution_id="x", steps=specs(CHAIN))
    (in_hand,) = in_hand_of(await leased(rig, 1), 0.0)
    assert AttemptTraces(None).concern(in_hand)
    with AttemptTraces(None).within(in_hand):
        assert current_ids() == (TRACE, "00f067aa0ba902b7")
        assert traced({}) == {"metadata": (("traceparent", told),)}
        assert in_hand.span is None
    assert current_ids() is None


async def test_starts_within_a_trace_go_alone(
    zart_server: ServerUnderTest, db: asyncpg.Connection, told: str
) -> None:
    async with zart.connect(zart_server.address, group_starts=True) as client:
        await client.register_task("t", specs(CHAIN))
        await client.start("t", execution_id="x")
    assert await stored(db) == [("x", 0, told)]


async def test_a_header_of_http_is_the_trace_and_is_in_the_log(
    zart_server: ServerUnderTest, db: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart.gateway")
    with gateway_to(zart_server.address) as http_:
        body = {"taskName": "t", "executionId": "x", "steps": [{"stepName": "a"}]}
        answer = await asyncio.to_thread(http_.post, "/api/v1/executions", body, traceparent=TOLD)
    assert answer.status == 200
    assert await stored(db) == [("x", 0, TOLD)]
    (line,) = [
        r.fields
        for r in caplog.records
        if isinstance(r, EventRecord) and r.msg == "call" and r.name == "zart.gateway"
    ]
    assert line["trace_id"] == TRACE


@pytest.mark.parametrize(
    "malformed",
    [
        "", "00", TOLD.upper(), f"{TOLD}-more", TOLD.replace("00-4", "ff-4"), f"{TOLD}0",
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", f" {TOLD}", f"{TOLD}\n",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_is_as_none(malformed: str) -> None:
    assert valid(malformed) == ""
    assert traced({"TRACEPARENT": malformed}) == {}


def test_a_later_version_is_read_as_the_first() -> None:
    assert valid(f"cc-{TOLD[3:]}") == TOLD
    assert valid(f"cc-{TOLD[3:]}-what-will-be") == TOLD
