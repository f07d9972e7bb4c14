"""The queue: claims, takes and extensions of queued tasks.

A queued task is named by the run, the step and the attempt it is for; a lease by its token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from zart_server.store.db import Tx

# A lease: run key, step number, token, and the principal whose it is.
LeaseKey: TypeAlias = tuple[int, int, int, str]
_TASK_ID = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,7})-([0-9a-f]{1,7})")


def task_id_of(run_key: int, step_no: int, attempt: int) -> str:
    """Name a queued task; opaque to callers, the same as the SQL function zart.task_id."""
    return f"{run_key:x}-{step_no:x}-{attempt:x}"


def parse_task_id(task_id: str) -> tuple[int, int, int] | None:
    """Give run key, step number and attempt; None where the text is no task id."""
    match = _TASK_ID.fullmatch(task_id)
    return None if match is None else (int(match[1], 16), int(match[2], 16), int(match[3], 16))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A queue row that was just leased."""

    run_key: int
    step_no: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    lease_token: int
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased queue row that was just deleted, to be recorded."""

    run_key: int
    step_no: int
    lane: int
    attempt: int
    counted: int
    backoff_base: int
    max_attempts: int
    timeout_seconds: float
    lease_token: int
    scheduled_at: datetime
    started_at: datetime
    dispatcher_id: str
    principal: str
    is_overdue: bool


_CLAIM_COLUMNS = (
    "run_key, step_no, attempt, max_attempts, timeout_seconds, lease_token, lease_expires_at"
)
# One LATERAL per lane reads the head of its index; the rows it locks and does not take are free
# again at commit.
_HEADS = """
    SELECT h.* FROM zart.lanes l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND lease_token IS NULL AND not_before <= statement_timestamp()
        ORDER BY not_before, queue_no LIMIT {limit} FOR UPDATE SKIP LOCKED
    ) h
    WHERE l.task_name = ANY($1::text[]) AND ($2::text[] IS NULL OR l.handler = ANY($2::text[]))
"""
_LEASE = """
    UPDATE zart.queue SET lease_token = nextval('zart.lease_tokens'), dispatcher_id = $4,
        principal = $6,
        started_at = statement_timestamp(), lease_seconds = $5,
        lease_expires_at = statement_timestamp() + $5 * interval '1 second'
"""


async def claim(
    tx: Tx,
    task_names: Sequence[str],
    handlers: Sequence[str] | None,
    max_tasks: int,
    dispatcher_id: str,
    lease_seconds: float,
    principal: str,
) -> list[Claimed]:
    """Lease queued tasks that are due, oldest first; none while a rule is settling.

    Waits for no row. The caller holds the pause lock shared.
    """
    rows = await tx.fetch(
        f"""
        WITH heads AS MATERIALIZED ({_HEADS.format(limit="$3")}
            AND NOT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle')
        )
        {_LEASE} WHERE ctid = ANY(ARRAY(
            SELECT tid FROM heads ORDER BY not_before, queue_no LIMIT $3))
            AND lease_token IS NULL
        RETURNING {_CLAIM_COLUMNS}
        """,
        task_names,
        handlers,
        max_tasks,
        dispatcher_id,
        lease_seconds,
        principal,
    )
    return [Claimed(*row) for row in rows]


async def claim_past_settling(
    tx: Tx,
    task_names: Sequence[str],
    handlers: Sequence[str] | None,
    max_tasks: int,
    dispatcher_id: str,
    lease_seconds: float,
    principal: str,
) -> tuple[list[Claimed], int]:
    """Lease as ``claim`` does while rules are settling, moving what they match aside in passing.

    Reads at most five times its batch per lane. Gives also how many tasks it moved.
    """
    rows = await tx.fetch(
        f"""
        WITH settling AS MATERIALIZED (
            SELECT r.* FROM zart.pause_work JOIN zart.pause_rules r USING (rule_key)
            WHERE work = 'settle' AND r.deleted_at IS NULL
        ), heads AS MATERIALIZED ({_HEADS.format(limit="5 * $3")}
        ), judged AS MATERIALIZED (
            SELECT h.*, (
                SELECT min(s.rule_key) FROM settling s
                WHERE (s.task_name IS NULL OR s.task_name = e.task_name)
                  AND (s.execution_id IS NULL OR s.execution_id = e.execution_id)
                  AND (s.step_regex IS NULL OR h.step_name ~ s.step_regex)) AS rule_key
            FROM heads h JOIN zart.runs USING (run_key)
            JOIN zart.executions e USING (execution_key)
        ), gone AS (
            DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
                SELECT tid FROM judged WHERE rule_key IS NOT NULL))
                AND lease_token IS NULL
            RETURNING *
        ), held AS (
            INSERT INTO zart.held (run_key, step_no, rule_key, lane, attempt, counted, backoff_base,
                max_attempts, timeout_seconds, queue_no, not_before, scheduled_at, step_name)
            SELECT g.run_key, g.step_no, j.rule_key, g.lane, g.attempt, g.counted, g.backoff_base,
                g.max_attempts, g.timeout_seconds, g.queue_no, g.not_before, g.scheduled_at,
                g.step_name
            FROM gone g JOIN judged j USING (run_key, step_no)
        ), leased AS (
            {_LEASE} WHERE ctid = ANY(ARRAY(
                SELECT tid FROM judged WHERE rule_key IS NULL
                ORDER BY not_before, queue_no LIMIT $3))
                AND lease_token IS NULL
            RETURNING {_CLAIM_COLUMNS}
        )
        SELECT leased.*, moved.n FROM (SELECT count(*) AS n FROM gone) moved
        LEFT JOIN leased ON true
        """,
        task_names,
        handlers,
        max_tasks,
        dispatcher_id,
        lease_seconds,
        principal,
    )
    return [Claimed(*row[:7]) for row in rows if row["run_key"] is not None], rows[0]["n"]


async def unclaim(tx: Tx, claimed: Sequence[Claimed]) -> None:
    """Undo leases of this very transaction that do not fit into the response."""
    await tx.execute(
        "UPDATE zart.queue q SET lease_token = NULL, dispatcher_id = NULL, principal = '',"
        " started_at = NULL, lease_seconds = NULL, lease_expires_at = NULL"
        " FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) u(r, s, t)"
        " WHERE q.run_key = r AND q.step_no = s AND q.lease_token = t",
        [c.run_key for c in claimed],
        [c.step_no for c in claimed],
        [c.lease_token for c in claimed],
    )


async def take(tx: Tx, refs: Sequence[LeaseKey], *, only_expired: bool) -> list[Taken]:
    """Delete leased tasks whose token is still current and whose lease is the principal's.

    With ``only_expired`` those whose lease was extended meanwhile stay. The caller holds the run
    rows. Locks in key order, since extensions lock queue rows without their run.
    """
    refs = sorted(refs)
    rows = await tx.fetch(
        """
        WITH locked AS MATERIALIZED (
            SELECT q.ctid AS tid FROM zart.queue q
            JOIN unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[]) u(r, s, t, p)
                ON q.run_key = r AND q.step_no = s AND q.lease_token = t AND q.principal = p
            WHERE NOT $5 OR q.lease_expires_at <= statement_timestamp()
            ORDER BY q.run_key, q.step_no FOR UPDATE OF q
        )
        DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM locked))
        RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, lease_token, scheduled_at, started_at, dispatcher_id, principal,
            started_at + timeout_seconds * interval '1 second' <= statement_timestamp()
        """,
        [run_key for run_key, _, _, _ in refs],
        [step_no for _, step_no, _, _ in refs],
        [token for _, _, token, _ in refs],
        [principal for _, _, _, principal in refs],
        only_expired,
    )
    return [Taken(*row) for row in rows]


async def extend(tx: Tx, refs: Sequence[LeaseKey]) -> dict[LeaseKey, tuple[datetime, timedelta]]:
    """Extend leases by the time they were taken for, never past start + timeout + lease.

    Only the principals' own. One that is past its end but not swept yet is good again. Gives the
    new ends and the spans left.
    """
    refs = sorted(set(refs))
    rows = await tx.fetch(
        """
        WITH locked AS MATERIALIZED (
            SELECT q.run_key, q.step_no FROM zart.queue q
            JOIN unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[]) u(r, s, t, p)
                ON q.run_key = r AND q.step_no = s AND q.lease_token = t AND q.principal = p
            ORDER BY q.run_key, q.step_no FOR UPDATE OF q
        )
        UPDATE zart.queue q SET lease_expires_at = GREATEST(q.lease_expires_at, LEAST(
            statement_timestamp() + q.lease_seconds * interval '1 second',
            q.started_at + (q.timeout_seconds + q.lease_seconds) * interval '1 second'))
        FROM locked l WHERE q.run_key = l.run_key AND q.step_no = l.step_no
          AND q.lease_token IS NOT NULL
        RETURNING q.run_key, q.step_no, q.lease_token, q.principal, q.lease_expires_at,
            GREATEST(q.lease_expires_at - statement_timestamp(), interval '0')
        """,
        [run_key for run_key, _, _, _ in refs],
        [step_no for _, step_no, _, _ in refs],
        [token for _, _, token, _ in refs],
        [principal for _, _, _, principal in refs],
    )
    return {(row[0], row[1], row[2], row[3]): (row[4], row[5]) for row in rows}


async def expired_leases(tx: Tx, limit: int) -> list[LeaseKey]:
    """Give leases past their end, oldest first; locks nothing."""
    rows = await tx.fetch(
        "SELECT run_key, step_no, lease_token, principal FROM zart.queue"
        " WHERE lease_token IS NOT NULL AND lease_expires_at <= statement_timestamp()"
        " ORDER BY lease_expires_at LIMIT $1",
        limit,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def lock_queued(tx: Tx, run_key: int) -> None:
    """Lock all queue rows of a run in order, waiting for claims; the caller holds the run row."""
    await tx.execute(
        "SELECT FROM zart.queue WHERE run_key = $1 ORDER BY step_no FOR UPDATE", run_key
    )


async def due_lanes(tx: Tx, task_names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Give (task, handler, seconds until due) of the lanes of these tasks with queued tasks."""
    rows = await tx.fetch(
        """
        SELECT l.task_name, l.handler, GREATEST(
            EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
        FROM zart.lanes l CROSS JOIN LATERAL (
            SELECT not_before FROM zart.queue WHERE lane = l.lane AND lease_token IS NULL
            ORDER BY not_before, queue_no LIMIT 1) h
        WHERE l.task_name = ANY($1::text[])
        """,
        task_names,
    )
    return [(row[0], row[1], row[2]) for row in rows]
