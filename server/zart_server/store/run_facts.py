"""What never changes of a run: its names, its trace, and its payload if that is short."""

from __future__ import annotations

from collections.abc import Collection

from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Connection
from zart_server.store.handler_inputs import READ_AT_ONCE


async def find_run_facts(connection: Connection, run_keys: Collection[int]) -> dict[int, RunFacts]:
    """Return runs by key, reading those that are not at hand in one statement."""
    found = connection.runs.at_hand(run_keys)
    if missing := [key for key in run_keys if key not in found]:
        for run in await _read(connection, missing):
            connection.runs.add(run)
            found[run.run_key] = run
    return found


async def _read(connection: Connection, run_keys: list[int]) -> list[RunFacts]:
    """Read what is known of runs for good, and short payloads."""
    rows = await connection.fetch(
        """
        SELECT r.run_key, r.execution_key, e.execution_id, r.run_number, r.definition_key,
            r.source_run_number IS NOT NULL, COALESCE(octet_length(
                COALESCE(r.payload, p.payload)::text), 0),
            CASE WHEN octet_length(r.payload::text) <= $2 THEN r.payload END, r.traceparent
        FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT * FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
            WHERE execution_key = r.execution_key OFFSET 0) e
        LEFT JOIN LATERAL (
            SELECT payload FROM zart.runs WHERE run_key = r.payload_run_key OFFSET 0) p ON true
        """,
        run_keys,
        READ_AT_ONCE,
    )
    return [RunFacts(*row) for row in rows]
