"""The items of a batch that was created within a trace have spans in it, linked to their executions."""

from __future__ import annotations

import pytest
from batching import dead_steps, start_many, until_batch
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rig import Rig, eventually

import zart
from zart.testing.server import ServerUnderTest
from zart.trace_context import traceparent_of
from zart_server.api.batch_spans import spans_of_items

OF_EXECUTION = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OF_OPERATOR = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(zart_server: ServerUnderTest) -> InMemorySpanExporter:
    """What the server makes of spans, if it traces."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    runtime = zart_server.running.runtime
    runtime.batches.on_done = spans_of_items(runtime.db, provider.get_tracer("tests"))
    return exporter


def told(span: ReadableSpan) -> tuple[object, str, list[str]]:
    """Return what a test compares of a span: execution and reason, parent, links."""
    attributes, parent = span.attributes or {}, span.parent
    what = attributes["zart.execution_id"], attributes.get("zart.reason")
    links = [traceparent_of(link.context) for link in span.links]
    return what, "" if parent is None else traceparent_of(parent), links


async def test_each_item_has_a_span_in_the_trace_of_its_batch(
    rig: Rig, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", OF_EXECUTION)
    await dead_steps(rig.client, 2)
    monkeypatch.delenv("TRACEPARENT")
    await dead_steps(rig.client, 1, "untraced")
    monkeypatch.setenv("TRACEPARENT", OF_OPERATOR)
    await start_many(rig.client, 1, "alive")
    names = ["x-0", "x-1", "untraced-0", "alive-0"]
    created = await rig.client.create_batch(zart.CancelExecution(), execution_ids=names)
    await until_batch(rig.client, created.batch_id, "COMPLETED")

    async def are_told() -> bool:
        return len(spans.get_finished_spans()) == len(names)

    await eventually(are_told)
    found = spans.get_finished_spans()
    assert {span.name for span in found} == {"batch cancel_execution"}
    assert {(span.attributes or {})["zart.batch_id"] for span in found} == {created.batch_id}
    assert all((span.end_time or 0) > (span.start_time or 0) for span in found)
    refused = "RUN_FINISHED"
    assert sorted(map(told, found), key=str) == [
        (("alive-0", None), OF_OPERATOR, []),  # of the same trace
        (("untraced-0", refused), OF_OPERATOR, []),
        (("x-0", refused), OF_OPERATOR, [OF_EXECUTION]),
        (("x-1", refused), OF_OPERATOR, [OF_EXECUTION]),
    ]


async def test_a_batch_of_no_trace_has_none(rig: Rig, spans: InMemorySpanExporter) -> None:
    await start_many(rig.client, 2)
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert await rig.db.fetchval("SELECT traceparent FROM zart.batches") is None
    assert spans.get_finished_spans() == ()


def test_where_nobody_traces_nothing_is_told(zart_server: ServerUnderTest) -> None:
    runtime = zart_server.running.runtime
    assert spans_of_items(runtime.db, None) is None
    assert runtime.batches.on_done is None
