"""Reads the trace that an execution belongs to."""

from __future__ import annotations

from zart_server.store.connection import Connection


async def find_traceparent(connection: Connection, execution_id: str) -> str | None:
    """Return the traceparent of an execution; None: it has none, or there is no execution."""
    found: str | None = await connection.fetchval(
        """
        SELECT r.traceparent FROM zart.executions e
        CROSS JOIN LATERAL (
            SELECT traceparent FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) r
        WHERE e.execution_id = $1
        """,
        execution_id,
    )
    return found
