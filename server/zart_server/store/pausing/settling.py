"""Moves queued tasks that a new pause rule matches to the paused ones, piece by piece."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.matching import LANE_MAY_MATCH, TASK_OF_LANE_MATCHES, UNFINISHED_RUN
from zart_server.store.queue import TASK_COLUMNS, LaneCursor
from zart_server.store.statement import Statement

_MOVE = f"""
    picked AS MATERIALIZED (
        SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
            WHERE matches))
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
        RETURNING {TASK_COLUMNS}
    ), moved AS (
        INSERT INTO zart.held ({TASK_COLUMNS}, rule_key)
        SELECT {TASK_COLUMNS}, :rule_key FROM gone
        RETURNING run_key
    )
"""


class Moved(NamedTuple):
    """The outcome of a piece of work. ``left``: matching tasks that others have locked."""

    left: int
    end: LaneCursor | None  # of what was read; None where there was nothing


async def lanes_to_settle(connection: Connection, rule_key: int) -> list[int] | None:
    """Return the lanes that may have tasks which an active rule matches.

    None for a rule of one execution: it is settled as a whole.
    """
    rows = await connection.fetch(
        f"""
        SELECT r.execution_id, l.lane FROM zart.pause_rules r
        LEFT JOIN zart.lanes l ON r.execution_id IS NULL AND {LANE_MAY_MATCH}
        WHERE r.rule_key = $1 AND r.deleted_at IS NULL ORDER BY l.lane
        """,
        rule_key,
    )
    if rows and rows[0]["execution_id"] is not None:
        return None
    return [row["lane"] for row in rows if row["lane"] is not None]


_LOCKS = ("queue, passing over locked rows",)
_SETTLE_LANE = Statement(
    f"""
    WITH seen AS MATERIALIZED (
        SELECT t.ctid AS tid, t.not_before, t.queue_no, {TASK_OF_LANE_MATCHES} AS matches
        FROM zart.pause_rules r CROSS JOIN zart.lanes l CROSS JOIN LATERAL (
            SELECT ctid, not_before, queue_no, step_name FROM zart.queue
            WHERE queue.lane = :lane
              AND (not_before, queue_no) >
                  (COALESCE(:after, '-infinity'::timestamptz), :after_no::bigint)
            ORDER BY not_before, queue_no LIMIT :limit) t
        WHERE r.rule_key = :rule_key AND r.deleted_at IS NULL AND l.lane = :lane
    ), {_MOVE}
    SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved),
        last.not_before, last.queue_no
    FROM (SELECT) one LEFT JOIN LATERAL (
        SELECT not_before, queue_no FROM seen
        ORDER BY not_before DESC, queue_no DESC LIMIT 1) last ON true
    """,
    locks=_LOCKS,
)


async def settle_lane(
    tx: Tx, rule_key: int, lane: int, after: LaneCursor | None, limit: int
) -> Moved:
    """Look at the next ``limit`` tasks of a lane; move those aside that an active rule matches.

    The caller holds the pause lock shared. Skips rows that another transaction has locked.
    """
    row = await tx.fetchrow(
        _SETTLE_LANE.text,
        *_SETTLE_LANE.arguments(
            rule_key=rule_key,
            lane=lane,
            after=None if after is None else after[0],
            after_no=0 if after is None else after[1],
            limit=limit,
        ),
    )
    if row is None:
        return Moved(0, None)
    return Moved(row[0], None if row[1] is None else (row[1], row[2]))


_SETTLE_EXECUTION = Statement(
    f"""
    WITH seen AS MATERIALIZED (
        SELECT t.tid, true AS matches
        FROM (SELECT * FROM zart.pause_rules WHERE rule_key = :rule_key OFFSET 0) r
        CROSS JOIN LATERAL ({UNFINISHED_RUN}) u CROSS JOIN LATERAL (
            SELECT ctid AS tid, step_name FROM zart.queue WHERE run_key = u.run_key OFFSET 0) t
        WHERE r.deleted_at IS NULL
          AND (r.task_name IS NULL OR r.task_name = u.task_name)
          AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
    ), {_MOVE}
    SELECT (SELECT count(*) FROM seen) - (SELECT count(*) FROM moved)
    """,
    locks=_LOCKS,
)


async def settle_execution(tx: Tx, rule_key: int) -> int:
    """Move the queued tasks aside that an active rule matches which names their execution.

    A run has at most 10,000. Return how many were left, locked by another transaction. The
    caller holds the pause lock, shared.
    """
    left: int | None = await tx.fetchval(
        _SETTLE_EXECUTION.text, *_SETTLE_EXECUTION.arguments(rule_key=rule_key)
    )
    return left or 0
