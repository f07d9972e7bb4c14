"""Moves queued tasks that a settling rule matches to the paused ones, piece by piece."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.exempting import SETTLES, exempts_any
from zart_server.store.pausing.matching import (
    LANE_MAY_MATCH,
    TASK_OF_LANE_MATCHES,
    unfinished_run,
)
from zart_server.store.pausing.work import PauseWork
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
    """Return the lanes that may have queued tasks which an active rule matches.

    None for a rule of one execution: it is settled as a whole. A lane that is empty need not be
    gone through: no matching task is queued after the rule's commit, and this snapshot is later.
    What another transaction takes out and may put back is in the lane, for this snapshot, too.
    """
    rows = await connection.fetch(
        f"""
        SELECT r.execution_id, l.lane FROM zart.pause_rules r
        LEFT JOIN zart.lanes l ON r.execution_id IS NULL AND {LANE_MAY_MATCH}
            AND EXISTS (SELECT FROM zart.queue q WHERE q.lane = l.lane OFFSET 0)
        WHERE r.rule_key = $1 AND r.deleted_at IS NULL ORDER BY l.lane
        """,
        rule_key,
    )
    if rows and rows[0]["execution_id"] is not None:
        return None
    return [row["lane"] for row in rows if row["lane"] is not None]


def _rule(of_released: str) -> str:
    """Return the part of a WITH that is the settling rule r: none, once it is deleted."""
    return f"""
        settling AS MATERIALIZED (
            SELECT r.*, {of_released}::boolean AS of_released,
                {exempts_any("r.rule_key")} AS is_exempting
            FROM zart.pause_rules r WHERE r.rule_key = :rule_key AND r.deleted_at IS NULL
        )
    """


_LOCKS = ("queue, passing over locked rows",)
_SETTLE_LANE = Statement(
    f"""
    WITH {_rule("false")}, seen AS MATERIALIZED (
        SELECT t.tid, t.not_before, t.queue_no, {TASK_OF_LANE_MATCHES} AND {SETTLES} AS matches
        FROM settling r CROSS JOIN zart.lanes l CROSS JOIN LATERAL (
            SELECT ctid AS tid, run_key, step_no, attempt, not_before, queue_no, step_name
            FROM zart.queue
            WHERE queue.lane = :lane
              AND (not_before, queue_no) >
                  (COALESCE(:after, '-infinity'::timestamptz), :after_no::bigint)
            ORDER BY not_before, queue_no LIMIT :limit) t
        WHERE l.lane = :lane
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
    """Look at the next ``limit`` tasks of a lane; move those aside that an active rule withholds.

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
    WITH {_rule("false")}, seen AS MATERIALIZED (
        SELECT t.tid, {SETTLES} AS matches
        FROM settling r CROSS JOIN LATERAL (
            {unfinished_run("COALESCE(:execution_id::text, r.execution_id)")}
        ) u CROSS JOIN LATERAL (
            SELECT ctid AS tid, run_key, step_no, attempt, step_name FROM zart.queue
            WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
          AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
    ), {_MOVE}
    SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved)
    """,
    locks=_LOCKS,
)


async def settle_execution(tx: Tx, work: PauseWork) -> int:
    """Move the queued tasks aside that an active rule withholds of one execution.

    That is the one that the work names, else the rule. A run has at most 10,000. Return how many
    were left, locked by another transaction. The caller holds the pause lock, shared.
    """
    values = _SETTLE_EXECUTION.arguments(
        rule_key=work.rule_key, execution_id=work.execution_id or None
    )
    left: int | None = await tx.fetchval(_SETTLE_EXECUTION.text, *values)
    return left or 0


class ReleasedAt(NamedTuple):
    """An attempt that a rule had released, as they are gone through."""

    run_key: int
    step_no: int
    attempt: int


_BEGIN = ReleasedAt(0, 0, 0)
# The key is compared as a whole, which no other index has: that of attempts has their order, too.
_PART = """
    part AS MATERIALIZED (
        SELECT run_key, step_no, attempt, token_until FROM zart.released_steps
        WHERE (rule_key, run_key, step_no, attempt)
                > (:rule_key::bigint, :run_key::bigint, :step_no::integer, :attempt::integer)
          AND (rule_key, run_key, step_no, attempt) < (:rule_key + 1, 0, 0, 0)
        ORDER BY rule_key, run_key, step_no, attempt LIMIT :limit
    )
"""
_LAST = """LEFT JOIN LATERAL (
        SELECT run_key, step_no, attempt FROM part
        ORDER BY run_key DESC, step_no DESC, attempt DESC LIMIT 1) last ON true"""
_IS_ANY_QUEUED = Statement(
    f"""
    WITH {_PART}
    SELECT EXISTS (
        SELECT FROM part p CROSS JOIN LATERAL (
            SELECT attempt FROM zart.queue
            WHERE queue.run_key = p.run_key AND queue.step_no = p.step_no OFFSET 0) t
        WHERE p.token_until IS NOT NULL AND t.attempt = p.attempt OFFSET 0),
        last.run_key, last.step_no, last.attempt
    FROM (SELECT) one {_LAST}
    """
)


async def is_any_queued(
    connection: Connection, rule_key: int, after: ReleasedAt | None, limit: int
) -> tuple[bool, ReleasedAt | None]:
    """Return whether a rule took back any of its next ``limit`` released attempts that is queued.

    Return also the last one looked at, None if there was none. Locks nothing: what was taken back
    is not queued again.
    """
    begin = after or _BEGIN
    values = _IS_ANY_QUEUED.arguments(rule_key=rule_key, limit=limit, **begin._asdict())
    (row,) = await connection.fetch(_IS_ANY_QUEUED.text, *values)
    return row[0], None if row[1] is None else ReleasedAt(row[1], row[2], row[3])


_SETTLE_RELEASED = Statement(
    f"""
    WITH {_rule("true")}, {_PART}, seen AS MATERIALIZED (
        SELECT t.tid, {SETTLES} AS matches
        FROM settling r CROSS JOIN part p CROSS JOIN LATERAL (
            SELECT ctid AS tid, run_key, step_no, attempt FROM zart.queue
            WHERE queue.run_key = p.run_key AND queue.step_no = p.step_no OFFSET 0) t
        WHERE p.token_until IS NOT NULL AND t.attempt = p.attempt
    ), {_MOVE}
    SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved),
        last.run_key, last.step_no, last.attempt
    FROM (SELECT) one {_LAST}
    """,
    locks=_LOCKS,
)


async def settle_released(
    tx: Tx, rule_key: int, after: ReleasedAt | None, limit: int
) -> tuple[int, ReleasedAt | None]:
    """Move those of a rule's next ``limit`` released attempts aside that it took back, if queued.

    Return how many were left, locked by another transaction, and the last one looked at, None if
    there was none. The caller holds the pause lock, shared.
    """
    begin = after or _BEGIN
    values = _SETTLE_RELEASED.arguments(rule_key=rule_key, limit=limit, **begin._asdict())
    (row,) = await tx.fetch(_SETTLE_RELEASED.text, *values)
    return row[0], None if row[1] is None else ReleasedAt(row[1], row[2], row[3])
