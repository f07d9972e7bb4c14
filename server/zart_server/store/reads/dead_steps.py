"""Reads which steps of runs are dead, and why, for a page of them in one statement."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.model import DeadStep, StepError
from zart_server.store.connection import Connection

MOST = 3  # of a run
# Characters of up to four bytes: a thousand executions with three dead steps each must fit into an
# answer of 16 MiB, with all their names and what they wait for.
TYPE, MESSAGE = 100, 500

# A dead step is found by the attempt that it died of: most attempts have no row, since one that
# completes is part of its step's, so this reads what went wrong and not the whole run.
_DEAD = f"""
    SELECT u.run_key, dead.* FROM unnest($1::bigint[]) u(run_key)
    CROSS JOIN LATERAL (
        SELECT definition_key FROM zart.runs
        WHERE run_key = u.run_key AND dead_steps > 0 OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT a.step_no,
            (SELECT step_names[a.step_no + 1] FROM zart.definitions d
             WHERE d.definition_key = r.definition_key) AS step_name,
            a.error IS NOT NULL AS has_error, left(a.error->>'type', {TYPE}) AS type,
            left(a.error->>'message', {MESSAGE}) AS message
        FROM (
            SELECT step_no, attempt, error FROM zart.attempts
            WHERE run_key = u.run_key ORDER BY step_no, attempt OFFSET 0) a
        CROSS JOIN LATERAL (
            SELECT FROM zart.steps s WHERE s.run_key = u.run_key AND s.step_no = a.step_no
                AND s.attempt = a.attempt AND s.status = 'dead' OFFSET 0) s
        ORDER BY a.step_no LIMIT {MOST}) dead
"""


async def read_dead_steps(
    connection: Connection, run_keys: Sequence[int]
) -> dict[int, tuple[DeadStep, ...]]:
    """Return the first dead steps of each run, by run key; runs without one are missing."""
    found: dict[int, tuple[DeadStep, ...]] = {}
    for row in await connection.fetch(_DEAD, run_keys) if run_keys else ():
        error = StepError(row["type"] or "", row["message"] or "") if row["has_error"] else None
        step = DeadStep(row["step_name"], error)
        found[row["run_key"]] = (*found.get(row["run_key"], ()), step)
    return found
