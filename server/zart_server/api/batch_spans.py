"""The spans of the items of batches: within the trace of the batch, linked to their executions'."""

from __future__ import annotations

import asyncio
import logging

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Tracer

from zart.trace_context import trace_id_of
from zart.tracing import remote
from zart_server.domain.errors import ZartError
from zart_server.engine.background.batch_work import DoneItems, OnDone
from zart_server.store.db import Database
from zart_server.store.reads.traces import find_traceparents

_log = logging.getLogger(__name__)
_PATIENCE = 0.25  # seconds that the next piece waits


def spans_of_items(db: Database, tracer: Tracer | None) -> OnDone | None:
    """Return what makes a span of each item that was done or refused; None: nobody traces here."""
    if tracer is None:
        return None

    async def make(done: DoneItems) -> None:
        within = trace.set_span_in_context(remote(done.traceparent))
        spans: dict[str, Span] = {}
        for item, refusal in done.results:
            attributes: dict[str, str | int] = {
                "zart.batch_id": done.batch_id,
                "zart.execution_id": item.execution_id,
                "zart.run_number": item.run_number,
            }
            if item.step_name:
                attributes["zart.step_name"] = item.step_name
            if refusal is not None:
                attributes["zart.reason"] = refusal.reason
            spans[item.execution_id] = tracer.start_span(
                f"batch {done.kind.value}", within, SpanKind.INTERNAL, attributes,
                start_time=done.begun_ns,
            )  # fmt: skip
        await _link(db, {id_: span for id_, span in spans.items() if span.is_recording()}, done)
        for span in spans.values():
            span.end()

    return make


async def _link(db: Database, spans: dict[str, Span], done: DoneItems) -> None:
    """Link spans to the traces of their executions. What goes wrong here costs the links only."""
    if not spans:
        return
    try:
        async with asyncio.timeout(_PATIENCE), db.autocommit() as connection:
            found = await find_traceparents(connection, spans)
    except (ZartError, TimeoutError) as error:
        _log.warning("items are not linked to their executions' traces: %s", type(error).__name__)
        return
    except Exception:  # noqa: BLE001 - a defect, which is none of the batch
        _log.exception("items are not linked to their executions' traces")
        return
    for execution_id, told in found.items():
        if trace_id_of(told) != trace_id_of(done.traceparent):
            context = remote(told).get_span_context()
            spans[execution_id].add_link(context, {"zart.link": "execution"})
