"""Reads what the handlers of leased tasks need: payloads, and results of dependencies."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from zart_server.store.db import Tx

# Longer texts are only read once it is known that they fit into the response.
_AT_ONCE = 8192


async def read_payloads(tx: Tx, run_keys: Sequence[int]) -> dict[int, asyncpg.Record]:
    """Read runs by key with their payload's size, and the payload itself where it is short."""
    rows = await tx.fetch(
        """
        SELECT r.run_key, r.execution_key, r.run_number, r.definition_key, r.status,
            e.execution_id, COALESCE(octet_length(r.payload::text), 0) AS payload_bytes,
            CASE WHEN octet_length(r.payload::text) <= $2 THEN r.payload END AS payload
        FROM zart.runs r JOIN zart.executions e USING (execution_key)
        WHERE r.run_key = ANY($1::bigint[])
        """,
        run_keys,
        _AT_ONCE,
    )
    return {row["run_key"]: row for row in rows}


async def read_upstream(
    tx: Tx, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[str | None, int]]:
    """Read results by (run key, step number): the text where it is short, and its size in bytes."""
    rows = await tx.fetch(
        """
        SELECT s.run_key, s.step_no, octet_length(o.result::text) AS bytes,
            CASE WHEN octet_length(o.result::text) <= $3 THEN o.result END AS result
        FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
        JOIN zart.steps s USING (run_key, step_no)
        JOIN zart.steps o
            ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
        """,
        [run_key for run_key, _ in wanted],
        [step_no for _, step_no in wanted],
        _AT_ONCE,
    )
    return {(row["run_key"], row["step_no"]): (row["result"], row["bytes"] or 0) for row in rows}


async def read_large(
    tx: Tx, run_keys: Sequence[int], wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Read long texts: payloads of runs, under step number -1, and results of steps."""
    rows = await tx.fetch(
        """
        SELECT run_key, -1 AS step_no, payload AS text FROM zart.runs
        WHERE run_key = ANY($1::bigint[])
        UNION ALL
        SELECT s.run_key, s.step_no, o.result
        FROM unnest($2::bigint[], $3::integer[]) u(run_key, step_no)
        JOIN zart.steps s USING (run_key, step_no)
        JOIN zart.steps o
            ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
        """,
        run_keys,
        [run_key for run_key, _ in wanted],
        [step_no for _, step_no in wanted],
    )
    return {(row["run_key"], row["step_no"]): row["text"] for row in rows}


async def read_lease(
    tx: Tx, run_key: int, step_no: int, lease_token: int, principal: str
) -> asyncpg.Record | None:
    """Give a leased task's run and definition; None where it is not the principal's lease now."""
    return await tx.fetchrow(
        "SELECT r.run_key, r.definition_key FROM zart.queue q JOIN zart.runs r USING (run_key)"
        " WHERE q.run_key = $1 AND q.step_no = $2 AND q.lease_token = $3 AND q.principal = $4",
        run_key,
        step_no,
        lease_token,
        principal,
    )
