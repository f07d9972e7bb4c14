"""Reads the traces that executions belong to."""

from __future__ import annotations

from collections.abc import Collection

from zart_server.store.connection import Connection


async def find_traceparents(
    connection: Connection, execution_ids: Collection[str]
) -> dict[str, str]:
    """Return the traceparents of executions by id, of those that have one."""
    rows = await connection.fetch(
        """
        SELECT e.execution_id, r.traceparent FROM unnest($1::text[]) i(execution_id)
        CROSS JOIN LATERAL (
            SELECT execution_id, execution_key FROM zart.executions
            WHERE execution_id = i.execution_id OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT traceparent FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) r
        WHERE r.traceparent IS NOT NULL
        """,
        list(execution_ids),
    )
    return {row[0]: row[1] for row in rows}
