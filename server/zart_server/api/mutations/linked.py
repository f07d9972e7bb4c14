"""Links the span of an operator's call to the trace of the execution that it is about."""

from __future__ import annotations

import asyncio
import logging

from google.protobuf.message import Message
from opentelemetry import trace

from zart.trace_context import trace_id_of
from zart.tracing import remote
from zart.v1 import execution_service_pb2 as pb
from zart_server.domain.errors import ZartError
from zart_server.store.db import Database
from zart_server.store.reads.traces import find_traceparents

_log = logging.getLogger(__name__)
_PATIENCE = 0.25  # seconds that the answer waits: who asked has it done already


async def link_to_execution(db: Database, request: Message) -> None:
    """Add the link, if the call has a span that is kept and the execution has another trace.

    A start belongs to the trace itself, and is linked to nothing. What goes wrong here costs the
    link only: what was asked for is done all the same.
    """
    span = trace.get_current_span()
    if not span.is_recording() or isinstance(request, pb.StartExecutionRequest):
        return
    execution_id: str = getattr(request, "execution_id", "")
    if not execution_id:
        return
    try:
        async with asyncio.timeout(_PATIENCE), db.autocommit() as connection:
            found = (await find_traceparents(connection, [execution_id])).get(execution_id)
    except (ZartError, TimeoutError) as error:
        _log.warning("a call is not linked to its execution's trace: %s", type(error).__name__)
        return
    except Exception:  # noqa: BLE001 - a defect, which is no answer to what was asked for
        _log.exception("a call is not linked to its execution's trace")
        return
    if found and trace_id_of(found) != f"{span.get_span_context().trace_id:032x}":
        span.add_link(remote(found).get_span_context(), {"zart.link": "execution"})
