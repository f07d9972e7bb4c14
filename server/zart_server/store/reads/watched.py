"""Reads, in one statement, whether any of many watched runs has changed."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.store.connection import Connection

# Of the run r: another one once the run has changed.
DIGEST = """concat_ws('/', r.status, r.is_current,
    (SELECT sum(hashtextextended(status, step_no)) FROM zart.steps s
     WHERE s.run_key = r.run_key),
    (SELECT sum(hashtextextended(concat(attempt, '/', lease_token), step_no))
     FROM zart.leases q WHERE q.run_key = r.run_key),
    (SELECT sum(hashtextextended(attempt::text, step_no))
     FROM zart.queue q WHERE q.run_key = r.run_key),
    (SELECT sum(hashtextextended(rule_key::text, step_no)) FROM zart.held h
     WHERE h.run_key = r.run_key))"""
_DIGESTS = f"""
    SELECT r.run_key, {DIGEST} AS digest
    FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
"""


async def run_digests(connection: Connection, run_keys: Sequence[int]) -> dict[int, str]:
    """Return, by run key, a digest that is another one once the run has changed."""
    rows = await connection.fetch(_DIGESTS, run_keys)
    return {row["run_key"]: row["digest"] for row in rows}
