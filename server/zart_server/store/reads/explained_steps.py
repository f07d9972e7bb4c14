"""Reads what there is to say of why steps of one run are not completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from zart_server.domain.breakers import BreakerStatus
from zart_server.domain.errors import ExecutionNotFound, RunNotFound
from zart_server.domain.known_step import Ahead, KnownBreaker, KnownRule, KnownRun
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.connection import Tx

MOST_STEPS = 100

_RUN = """
    SELECT e.task_name, c.run_number AS current_number, r.run_key, r.run_number, r.status, r.error,
        r.completed_at, r.definition_key, n.last_asked_at, p.epoch, statement_timestamp() AS now
    FROM (SELECT * FROM zart.executions WHERE execution_id = $1 OFFSET 0) e
    CROSS JOIN LATERAL (  -- the newest is the current one
        SELECT run_number FROM zart.runs WHERE runs.execution_key = e.execution_key
        ORDER BY runs.run_number DESC LIMIT 1) c
    LEFT JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.execution_key = e.execution_key
            AND runs.run_number = COALESCE($2, c.run_number) OFFSET 0) r ON true
    LEFT JOIN LATERAL (
        SELECT last_asked_at FROM zart.task_names WHERE task_names.task_name = e.task_name OFFSET 0
        ) n ON true
    CROSS JOIN zart.pause_epoch p
"""


@dataclass(frozen=True, slots=True)
class ExplainedRun:
    """A run by its keys, and the epoch of the pause rules at that moment."""

    run_key: int
    definition_key: int
    epoch: int
    known: KnownRun


async def find_run(tx: Tx, execution_id: str, run_number: int | None) -> ExplainedRun:
    """Find a run (None: the current one). Raises ExecutionNotFound or RunNotFound."""
    row = await tx.fetchrow(_RUN, execution_id, run_number)
    if row is None:
        raise ExecutionNotFound(execution_id)
    if row["run_key"] is None:
        raise RunNotFound(execution_id, run_number or 0)
    facts = KnownRun(
        execution_id,
        row["task_name"],
        row["run_number"],
        row["current_number"],
        RunStatus(row["status"]),
        row["completed_at"],
        row["error"],
        row["last_asked_at"],
        row["now"],
    )
    return ExplainedRun(row["run_key"], row["definition_key"], row["epoch"], facts)


# What is dead, under way, held or queued goes before what only waits for others.
_UNFINISHED = f"""
    SELECT step_no FROM (
        SELECT step_no, min(rank) AS rank FROM (
            (SELECT step_no, 0 AS rank FROM zart.steps WHERE run_key = $1 AND status = 'dead'
             ORDER BY step_no LIMIT {MOST_STEPS})
            UNION ALL
            (SELECT step_no, 0 FROM zart.leases WHERE run_key = $1
             ORDER BY step_no LIMIT {MOST_STEPS})
            UNION ALL
            (SELECT step_no, 0 FROM zart.held WHERE run_key = $1
             ORDER BY step_no LIMIT {MOST_STEPS})
            UNION ALL
            (SELECT step_no, 0 FROM zart.queue WHERE run_key = $1
             ORDER BY step_no LIMIT {MOST_STEPS})
            UNION ALL
            (SELECT step_no, 1 FROM zart.steps WHERE run_key = $1 AND status = 'open'
             ORDER BY step_no LIMIT {MOST_STEPS})) c
        GROUP BY step_no ORDER BY rank, step_no LIMIT {MOST_STEPS}) chosen
    ORDER BY step_no
"""


async def unfinished_steps(tx: Tx, run_key: int) -> list[int]:
    """Return the numbers of the steps that are neither completed nor cancelled, up to 100."""
    return [row["step_no"] for row in await tx.fetch(_UNFINISHED, run_key)]


_STEPS = """
    SELECT s.step_no, s.status, s.attempt, s.max_attempts, s.error, s.completed_at,
        COALESCE(l.attempt, q.attempt, h.attempt) AS open_attempt,
        COALESCE(l.max_attempts, q.max_attempts, h.max_attempts) AS open_max,
        COALESCE(l.counted, q.counted, h.counted) AS open_counted,
        COALESCE(q.scheduled_at, h.scheduled_at) AS ready_at,
        COALESCE(q.not_before, h.not_before) AS not_before,
        COALESCE(q.queue_no, h.queue_no) AS queue_no,
        l.started_at, l.dispatcher_id, l.lease_expires_at, h.rule_key,
        q.lane IS NOT NULL AS is_queued, (
            SELECT array_agg(g.rule_key) FROM zart.released_steps g
            WHERE g.run_key = $1 AND g.step_no = s.step_no
              AND g.attempt = COALESCE(q.attempt, h.attempt) AND g.token_until IS NULL) AS let_go, (
            SELECT count(*) FROM (
                SELECT FROM zart.queue b WHERE b.lane = q.lane
                    AND (b.not_before, b.queue_no) < (q.not_before, q.queue_no)
                ORDER BY b.not_before, b.queue_no LIMIT $3) a) AS ahead
    FROM unnest($2::integer[]) WITH ORDINALITY u(step_no, n)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.steps WHERE run_key = $1 AND steps.step_no = u.step_no OFFSET 0) s
    LEFT JOIN LATERAL (
        SELECT * FROM zart.leases WHERE s.status = 'open'
            AND leases.run_key = $1 AND leases.step_no = s.step_no OFFSET 0) l ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.queue WHERE s.status = 'open'
            AND queue.run_key = $1 AND queue.step_no = s.step_no OFFSET 0) q ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.held WHERE s.status = 'open'
            AND held.run_key = $1 AND held.step_no = s.step_no OFFSET 0) h ON true
    ORDER BY u.n
"""


async def read_step_rows(
    tx: Tx, run_key: int, numbers: Sequence[int], most_ahead: int
) -> list[asyncpg.Record]:
    """Return steps of a run by number, with where each stands; counted up to ``most_ahead``."""
    rows: list[asyncpg.Record] = await tx.fetch(_STEPS, run_key, numbers, most_ahead)
    return rows


def status_of_row(row: asyncpg.Record) -> StepStatus:
    """Return a step's state; one that is queued or held is SCHEDULED, for its rules are unknown."""
    if row["status"] != "open":
        return StepStatus(row["status"])
    if row["dispatcher_id"] is not None:
        return StepStatus.RUNNING
    return StepStatus.PENDING if row["queue_no"] is None else StepStatus.SCHEDULED


_AT_WORK = """
    SELECT count(*) FROM zart.leases
    WHERE lease_expires_at > statement_timestamp()
      AND lane = ANY (ARRAY(SELECT lane FROM zart.lanes WHERE task_name = $1))
"""


async def steps_at_work(tx: Tx, task_name: str) -> int:
    """Return how many steps of a task are leased; it goes through whatever is leased."""
    found: int = await tx.fetchval(_AT_WORK, task_name)
    return found


async def blocking_steps(tx: Tx, run_key: int) -> tuple[frozenset[int], frozenset[int]]:
    """Return which steps of a run are open, and which are dead."""
    row = await tx.fetchrow(
        "SELECT array_agg(step_no) FILTER (WHERE status = 'open') AS open,"
        " array_agg(step_no) FILTER (WHERE status = 'dead') AS dead"
        " FROM zart.steps WHERE run_key = $1 AND status IN ('open', 'dead')",
        run_key,
    )
    if row is None:
        return frozenset(), frozenset()
    return frozenset(row["open"] or ()), frozenset(row["dead"] or ())


_RULES = """
    SELECT r.*, p.rate_per_second, p.is_waiting, b.status AS breaker_status, b.tries_at
    FROM unnest($1::bigint[]) u(rule_key)
    CROSS JOIN LATERAL (
        SELECT rule_key, rule_id, created_by, reason, created_at, expires_at, expiry_rate,
            breaker_id
        FROM zart.pause_rules
        WHERE pause_rules.rule_key = u.rule_key AND deleted_at IS NULL OFFSET 0) r
    LEFT JOIN LATERAL (
        SELECT status, opened_at + cooldown * cooldowns AS tries_at FROM zart.breakers
        WHERE breakers.breaker_id = r.breaker_id AND breakers.rule_key = r.rule_key
          AND status <> 'closed' OFFSET 0) b ON true
    LEFT JOIN LATERAL (
        SELECT rate_per_second, is_waiting FROM zart.pause_releases
        WHERE pause_releases.rule_key = r.rule_key AND ended_at IS NULL OFFSET 0) p ON true
    WHERE NOT EXISTS (
        SELECT FROM zart.pause_exemptions x WHERE x.rule_key = r.rule_key
            AND x.execution_id = $2 AND x.token_until IS NULL OFFSET 0)
"""


async def rules_for(tx: Tx, rule_keys: Sequence[int], execution_id: str) -> dict[int, KnownRule]:
    """Return those of the rules, by key, that are active and do not exempt an execution."""
    return {
        row["rule_key"]: KnownRule(
            row["rule_key"],
            row["rule_id"],
            row["created_by"],
            row["reason"],
            row["created_at"],
            row["expires_at"],
            row["rate_per_second"],
            bool(row["is_waiting"]),
            _breaker_of(row),
            row["expiry_rate"],
        )
        for row in await tx.fetch(_RULES, rule_keys, execution_id)
    }


def _breaker_of(row: asyncpg.Record) -> KnownBreaker | None:
    if row["breaker_status"] is None:
        return None
    is_trying = row["breaker_status"] == BreakerStatus.HALF_OPEN
    return KnownBreaker(row["breaker_id"], is_trying, row["tries_at"])


# The key is compared as a whole, which no other index has: that of lanes has its order, too.
_PLACES = """
    SELECT (SELECT count(*) FROM (
        SELECT FROM zart.held h
        WHERE (h.rule_key, h.not_before, h.queue_no)
                >= (u.rule_key, '-infinity'::timestamptz, 0)
            AND (h.rule_key, h.not_before, h.queue_no)
                < (u.rule_key, COALESCE(u.not_before, 'infinity'), COALESCE(u.queue_no, 0))
        ORDER BY h.rule_key, h.not_before, h.queue_no LIMIT $4) a) AS ahead
    FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) WITH ORDINALITY
        u(rule_key, not_before, queue_no, n)
    ORDER BY u.n
"""


async def places_in_releases(
    tx: Tx, places: Sequence[tuple[int, datetime | None, int | None]], most: int
) -> list[Ahead]:
    """Return how many paused steps of a rule stand before a place: (rule key, time, queue number).

    A place without a time is the end. Counted up to ``most``.
    """
    keys, times, numbers = zip(*places, strict=True)
    rows = await tx.fetch(_PLACES, keys, times, numbers, most)
    return [Ahead(row["ahead"], row["ahead"] >= most) for row in rows]
