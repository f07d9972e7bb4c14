"""What the database recorded of steps that ended: how many, when they were leased, what gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import asyncpg

from bench.series import p50_p99

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_STEPS = """
SELECT count(*) AS steps, count(DISTINCT run_key) AS runs,
    percentile_disc(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY completed_at) AS of_middle
FROM zart.steps WHERE status IN ('completed', 'dead') AND completed_at > $1
"""
# When a step that failed became ready again is not recorded: its backoff has jitter.
_LEASED = """
SELECT extract(epoch FROM started_at - scheduled_at)::float8 * 1000 AS ms FROM zart.steps
WHERE status IN ('completed', 'dead') AND attempt = 1 AND completed_at > $1
"""
# A gap begins with the last end, or when the first of what has not ended became ready.
_GAPS = """
WITH attempts AS (
    SELECT a.completed_at AS ended,
        CASE WHEN a.attempt = 1 AND s.attempt = 1 THEN s.scheduled_at ELSE a.started_at END AS ready
    FROM zart.all_attempts a JOIN zart.steps s USING (run_key, step_no)
    WHERE a.completed_at > $1
), gaps AS (
    SELECT ended - greatest(
        lag(ended) OVER (ORDER BY ended), min(ready) OVER (ORDER BY ended DESC)) AS gap
    FROM attempts
)
SELECT count(*) AS attempts, extract(epoch FROM max(gap))::float8 AS standstill FROM gaps
"""


@dataclass(frozen=True)
class Ended:
    """Steps that were completed or died, the runs they are of, and how fast they ended."""

    steps: int
    runs: int
    per_second: float  # of the middle 80 %, so that neither begin nor tail counts


async def ended_since(db: Connection, known: datetime) -> Ended:
    """Count what ended since then. Raises RuntimeError if nothing did."""
    row = await db.fetchrow(_STEPS, known)
    if row is None or not row["steps"]:
        raise RuntimeError("no step has ended")
    first, last = row["of_middle"]
    return Ended(row["steps"], row["runs"], row["steps"] * 0.8 / (last - first).total_seconds())


async def evenness(db: Connection, known: datetime) -> dict[str, float]:
    """Return how long steps were ready before they were leased, and the longest standstill.

    The times in ms are those of steps that ended with their first attempt. A standstill is a time
    in which no attempt ended although one was ready or leased, in seconds; ``attempts`` is how
    many ended.
    """
    waits = await db.fetch(_LEASED, known)
    row = await db.fetchrow(_GAPS, known)
    assert row is not None
    return {
        **p50_p99([wait["ms"] for wait in waits]),
        "standstill_s": row["standstill"],
        "attempts": row["attempts"],
    }
