"""The queue: tasks that are ready and wait for a dispatcher, by lane and in order.

A queued task is named by the run, the step and the attempt it is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from zart_server.store.db import Tx
from zart_server.store.matching import LANE_MAY_MATCH

# Where a lane's queue was last read from: (not_before, queue_no).
Place: TypeAlias = tuple[datetime, int]
_TASK_ID = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,7})-([0-9a-f]{1,7})")


def task_id_of(run_key: int, step_no: int, attempt: int) -> str:
    """Name a queued task; opaque to callers, the same as the SQL function zart.task_id."""
    return f"{run_key:x}-{step_no:x}-{attempt:x}"


def parse_task_id(task_id: str) -> tuple[int, int, int] | None:
    """Give run key, step number and attempt; None where the text is no task id."""
    match = _TASK_ID.fullmatch(task_id)
    return None if match is None else (int(match[1], 16), int(match[2], 16), int(match[3], 16))


class Claimed(NamedTuple):
    """A task that was just leased, and the place in its lane that it had."""

    run_key: int
    step_no: int
    attempt: int
    max_attempts: int
    lease_token: int
    lease_expires_at: datetime
    lane: int
    not_before: datetime
    queue_no: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants which tasks. ``lease_seconds`` is how long each lease lasts."""

    task_names: Sequence[str]
    handlers: Sequence[str] | None
    max_tasks: int
    dispatcher_id: str
    principal: str
    lease_seconds: float

    def arguments(self) -> tuple[object, ...]:
        """Give the values that both statements take first."""
        return (
            self.task_names,
            self.handlers,
            self.max_tasks,
            self.dispatcher_id,
            self.lease_seconds,
            self.principal,
        )


_MOVED = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, queue_no, not_before, scheduled_at, step_name"""
_CLAIMED = """run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no"""
# One LATERAL per lane reads the head of its index, or on from where the last claim came to; the
# rows it locks and does not take are free again at commit.
_HEADS = """
    SELECT h.* FROM zart.lanes l
    LEFT JOIN unnest($7::integer[], $8::timestamptz[], $9::bigint[]) m(lane, since, since_no)
        USING (lane)
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
          AND (not_before, queue_no) >= (COALESCE(m.since, '-infinity'), COALESCE(m.since_no, 0))
        ORDER BY not_before, queue_no LIMIT {limit} FOR UPDATE SKIP LOCKED
    ) h
    WHERE l.task_name = ANY($1::text[]) AND ($2::text[] IS NULL OR l.handler = ANY($2::text[]))
"""
_HEAD = """
    SELECT ctid AS tid, run_key, step_no, lane, step_name, not_before, queue_no
    FROM zart.queue WHERE lane = l.lane AND not_before <= statement_timestamp()
    ORDER BY not_before, queue_no LIMIT {limit} FOR UPDATE SKIP LOCKED
"""
_LEASE = f"""
    INSERT INTO zart.leases ({_MOVED}, lease_token, started_at, lease_expires_at, lease_seconds,
        dispatcher_id, principal)
    SELECT {_MOVED}, nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $5 * interval '1 second', $5, $4, $6
    FROM {{moved}} ORDER BY not_before, queue_no
    RETURNING {_CLAIMED}
"""
# The first lease of a run sets it running. A run that somebody holds is skipped: who holds its row
# next sets it running (reports do).
_START = """
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT run_key FROM zart.runs
        WHERE status = 'scheduled' AND run_key = ANY(ARRAY(
            SELECT run_key FROM {moved} attempt = 1))
        FOR NO KEY UPDATE SKIP LOCKED))
"""


def _since(places: Mapping[int, Place]) -> tuple[object, ...]:
    return (
        list(places),
        [place[0] for place in places.values()],
        [place[1] for place in places.values()],
    )


async def claim(tx: Tx, wanted: Claim, since: Mapping[int, Place]) -> list[Claimed]:
    """Lease queued tasks that are due, oldest first; none while a rule is settling.

    Lanes in ``since`` are read from that place on. Waits for no row. The caller holds the pause
    lock shared.
    """
    rows = await tx.fetch(
        f"""
        WITH heads AS MATERIALIZED ({_HEADS.format(limit="$3")}
            AND NOT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle')
        ), gone AS (
            DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
                SELECT tid FROM heads ORDER BY not_before, queue_no LIMIT $3))
            RETURNING {_MOVED}
        ), started AS ({_START.format(moved="gone WHERE")}
        )
        {_LEASE.format(moved="gone")}
        """,
        *wanted.arguments(),
        *_since(since),
    )
    return [Claimed(*row) for row in rows]


async def claim_past_settling(tx: Tx, wanted: Claim) -> tuple[list[Claimed], int]:
    """Lease as ``claim`` does while rules are settling, moving what they match aside in passing.

    Lanes that a settling rule matches as a whole are passed over; of those that it may match in
    part, at most five times the batch is read. Gives also how many tasks it moved.
    """
    rows = await tx.fetch(
        f"""
        WITH settling AS MATERIALIZED (
            SELECT r.rule_key, r.task_name, r.step_regex, r.execution_id, u.run_key
            FROM zart.pause_work JOIN zart.pause_rules r USING (rule_key)
            LEFT JOIN zart.executions e ON e.execution_id = r.execution_id
            LEFT JOIN zart.runs u ON u.execution_key = e.execution_key
                AND u.status IN ('scheduled', 'running')
            WHERE work = 'settle' AND r.deleted_at IS NULL
              AND (r.execution_id IS NULL OR u.run_key IS NOT NULL)
        ), asked AS MATERIALIZED (
            SELECT l.*, EXISTS (SELECT FROM settling r WHERE {LANE_MAY_MATCH}) AS is_mixed
            FROM zart.lanes l
            WHERE l.task_name = ANY($1::text[])
              AND ($2::text[] IS NULL OR l.handler = ANY($2::text[]))
              AND NOT EXISTS (SELECT FROM settling r
                WHERE r.execution_id IS NULL AND {LANE_MAY_MATCH}
                  AND (r.step_regex IS NULL OR l.step_name IS NOT NULL))
        ), heads AS MATERIALIZED (
            SELECT h.*, NULL::bigint AS rule_key FROM asked l CROSS JOIN LATERAL (
                {_HEAD.format(limit="$3")}) h
            WHERE NOT l.is_mixed
            UNION ALL
            SELECT h.*, (SELECT min(r.rule_key) FROM settling r
                WHERE {LANE_MAY_MATCH} AND (r.run_key IS NULL OR r.run_key = h.run_key)
                  AND (r.step_regex IS NULL OR h.step_name ~ r.step_regex))
            FROM asked l CROSS JOIN LATERAL ({_HEAD.format(limit="5 * $3")}) h
            WHERE l.is_mixed
        ), moved AS (
            DELETE FROM zart.queue USING (
                SELECT tid, rule_key FROM heads WHERE rule_key IS NOT NULL
                UNION ALL
                (SELECT tid, rule_key FROM heads WHERE rule_key IS NULL
                 ORDER BY not_before, queue_no LIMIT $3)) h
            WHERE queue.ctid = h.tid
            RETURNING {_MOVED}, rule_key
        ), held AS (
            INSERT INTO zart.held ({_MOVED}, rule_key)
            SELECT {_MOVED}, rule_key FROM moved WHERE rule_key IS NOT NULL
        ), started AS ({_START.format(moved="moved WHERE rule_key IS NULL AND")}
        ), leased AS (
            {_LEASE.format(moved="moved WHERE rule_key IS NULL")}
        )
        SELECT leased.*, aside.n FROM (
            SELECT count(*) AS n FROM moved WHERE rule_key IS NOT NULL) aside
        LEFT JOIN leased ON true
        """,
        *wanted.arguments(),
    )
    return [Claimed(*row[:9]) for row in rows if row["run_key"] is not None], rows[0]["n"]


async def lock_queued(tx: Tx, run_keys: Sequence[int]) -> None:
    """Lock all queue rows of runs in order, waiting for claims; the caller holds the run rows."""
    await tx.execute(
        "SELECT FROM zart.queue WHERE run_key = ANY($1::bigint[]) ORDER BY run_key, step_no"
        " FOR UPDATE",
        run_keys,
    )


async def due_lanes(tx: Tx, task_names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Give (task, handler, seconds until due) of the lanes of these tasks with queued tasks.

    Lanes that a settling rule matches as a whole are left out.
    """
    rows = await tx.fetch(
        f"""
        SELECT l.task_name, l.handler, GREATEST(
            EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
        FROM zart.lanes l CROSS JOIN LATERAL (
            SELECT not_before FROM zart.queue WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT 1) h
        WHERE l.task_name = ANY($1::text[]) AND NOT EXISTS (
            SELECT FROM zart.pause_work JOIN zart.pause_rules r USING (rule_key)
            WHERE work = 'settle' AND r.deleted_at IS NULL AND r.execution_id IS NULL
              AND {LANE_MAY_MATCH} AND (r.step_regex IS NULL OR l.step_name IS NOT NULL))
        """,
        task_names,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def are_any_due(tx: Tx, task_names: Sequence[str], handlers: Sequence[str]) -> bool:
    """Tell whether anything is queued and due in these lanes. ``handlers`` empty: any."""
    found: bool = await tx.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM zart.lanes l CROSS JOIN LATERAL (
                SELECT FROM zart.queue WHERE lane = l.lane AND not_before <= statement_timestamp()
                ORDER BY not_before, queue_no LIMIT 1) h
            WHERE l.task_name = ANY($1::text[])
              AND (cardinality($2::text[]) = 0 OR l.handler = ANY($2::text[])))
        """,
        task_names,
        handlers,
    )
    return found
