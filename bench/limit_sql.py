"""The physical limit below: claim and complete in SQL alone, with no engine, no server, no steps.

Two connections, a hundred at a time, two transactions a batch. A queue row is deleted and a row
with a result is written: what no durable step can do without.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import asyncpg

from zart_server.embedded import postgres

CONNECTIONS = 2
BATCH = 100

_TABLES = """
CREATE TABLE queue (id bigint PRIMARY KEY, token bigint) WITH (fillfactor = 70);
CREATE INDEX queue_ready ON queue (id) WHERE token IS NULL;
CREATE TABLE done (id bigint PRIMARY KEY, token bigint, result json, completed_at timestamptz);
"""
_CLAIM = """
UPDATE queue SET token = $2 WHERE id = ANY (ARRAY(
    SELECT id FROM queue WHERE token IS NULL AND id > $3 ORDER BY id LIMIT $1
    FOR UPDATE SKIP LOCKED))
RETURNING id
"""
_COMPLETE = """
WITH gone AS (DELETE FROM queue WHERE id = ANY ($1::bigint[]) AND token = $2 RETURNING id)
INSERT INTO done SELECT id, $2, '1', statement_timestamp() FROM gone
"""


async def rate(steps: int) -> float:
    """Return the steps per second of a backlog of so many."""
    with (
        tempfile.TemporaryDirectory(prefix="zart-bench-", ignore_cleanup_errors=True) as folder,
        postgres.running(Path(folder) / "postgres") as database,
    ):
        connections = [await asyncpg.connect(database.url) for _ in range(CONNECTIONS)]
        await connections[0].execute(_TABLES)
        await connections[0].execute(
            "INSERT INTO queue SELECT n FROM generate_series(1, $1::bigint) n", steps
        )
        await connections[0].execute("VACUUM ANALYZE queue")
        begun = time.perf_counter()
        await asyncio.gather(*(_work(c, n) for n, c in enumerate(connections)))
        seconds = time.perf_counter() - begun
        done = await connections[0].fetchval("SELECT count(*) FROM done")
        for connection in connections:
            await connection.close()
    if done != steps:
        raise RuntimeError(f"{done} of {steps} were completed")
    return steps / seconds


async def _work(connection: asyncpg.Connection[asyncpg.Record], token: int) -> None:
    claim = await connection.prepare(_CLAIM)
    complete = await connection.prepare(_COMPLETE)
    low = 0
    while rows := await claim.fetch(BATCH, token, low):
        ids = [row["id"] for row in rows]
        low = ids[0] - BATCH * CONNECTIONS * 4
        await complete.fetch(ids, token)
