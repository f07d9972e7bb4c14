"""Claims: lease the oldest due tasks of many lanes, at the cost of the batch.

A claim looks up the first task of each lane, and then more tasks of the lanes whose first is the
oldest. The oldest of all these tasks decide how many each lane gives. Nothing is locked so far. A
task that another transaction has locked is replaced by the next of its lane, or of other lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.store.connection import Tx
from zart_server.store.due import MARKED, WAYS, Begin, Way, are_many, asked
from zart_server.store.pausing.exempting import SETTLES, SETTLING
from zart_server.store.pausing.matching import LANE_MAY_MATCH, any_matches_lane
from zart_server.store.queue import TASK_COLUMNS, LaneCursor
from zart_server.store.statement import Statement

_TOLD = 128  # so many lanes a claim returns the heads of; more if more tasks are wanted


class Claimed(NamedTuple):
    """A task that was just leased, the lane cursor that it had, and the correction it is for."""

    run_key: int
    step_no: int
    attempt: int
    max_attempts: int
    lease_token: int
    lease_expires_at: datetime
    lane: int
    not_before: datetime
    queue_no: int
    correction: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The tasks that a call wants, and for whom. ``lease_seconds``: how long a lease lasts."""

    task_names: Sequence[str]
    handlers: Sequence[str] | None
    max_tasks: int
    dispatcher_id: str
    principal: str
    lease_seconds: float


@dataclass(slots=True)
class ClaimResult:
    """The result of a claim.

    ``heads``: the cursor of each lane's first due task, oldest first. ``is_all_told``: no other
    lane has a due task. ``stood_aside``: nothing was claimed, as a rule is settling. ``is_more``:
    lanes had more tasks than their share, and fewer were claimed than wanted. ``are_many``: so many
    lanes were asked for that they were looked up in the queue. ``seconds``: how long that took.
    """

    claimed: list[Claimed]
    heads: dict[int, LaneCursor]
    is_all_told: bool
    stood_aside: bool
    is_more: bool
    are_many: bool
    seconds: float
    now: datetime


_CLAIMED = """run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction"""
_FROM = """zart.queue
    WHERE lane = l.lane AND not_before <= statement_timestamp()
        AND (not_before, queue_no) >= (l.since, l.since_no)
    ORDER BY not_before, queue_no"""
_TAIL = f"""
    SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
    FROM {_FROM} LIMIT {{limit}}
    FOR UPDATE SKIP LOCKED
"""
# The lanes with a due task, in the order of their first, and how many tasks to read of each: of up
# to three lanes as many as are wanted, of more lanes at most three times their share.
_HEADS = f"""
    heads AS MATERIALIZED (
        SELECT l.*, h.* FROM ({{lanes}}) l CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM {_FROM} LIMIT 1) h
        ORDER BY h.not_before, h.queue_no
    ), looked AS MATERIALIZED (
        SELECT *, CASE WHEN n <= 3 THEN :max_tasks ELSE (3 * :max_tasks + n - 1) / n END AS page
        FROM (SELECT LEAST(count(*), :max_tasks) AS n, count(*) AS lanes,
                  EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
              FROM heads) l
    )
"""
_LEASE = f"""
    INSERT INTO zart.leases ({TASK_COLUMNS},
        lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT {TASK_COLUMNS},
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + :lease_seconds * interval '1 second', :lease_seconds,
        :dispatcher_id, :principal
    FROM {{moved}} ORDER BY not_before, queue_no
    RETURNING {_CLAIMED}
"""
# The first lease of a run sets it running. A run that is locked is skipped: the next report that
# locks it sets it running. The status is compared so that no partial index fits: each run is looked
# up by its key, whatever the statistics say.
_START = """
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key FROM (SELECT DISTINCT run_key FROM {moved} attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
"""


_LOCKS = ("queue, passing over locked rows", "runs, passing over locked rows")
_FROM_HEADS = """SELECT lane, not_before AS since, queue_no AS since_no FROM heads
    WHERE {where}
    ORDER BY not_before, queue_no"""
_IS_OF_MANY = "(SELECT lanes FROM looked) > 1"
# The lanes whose tasks others have all locked.
_IS_OTHER = """(SELECT count(*) FROM picked) < :max_tasks
    AND (lane IN (SELECT lane FROM picked)) IS NOT TRUE"""


def _claiming(asked_for: str, told: str, many: str) -> str:
    lanes = f"SELECT * FROM ({asked_for}) a WHERE NOT (SELECT yes FROM aside)"
    return f"""
        WITH aside AS MATERIALIZED (
            SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
        ), {_HEADS.format(lanes=lanes)},
        seen AS MATERIALIZED (
            SELECT l.*, t.* FROM ({_FROM_HEADS.format(where=_IS_OF_MANY)}) l CROSS JOIN LATERAL (
                SELECT not_before, queue_no FROM {_FROM} LIMIT (SELECT page FROM looked)) t
            LIMIT 3 * :max_tasks
        ), quotas AS MATERIALIZED (
            SELECT lane, since, since_no, count(*) AS quota
            FROM (SELECT * FROM seen ORDER BY not_before, queue_no LIMIT :max_tasks) oldest
            GROUP BY lane, since, since_no UNION ALL
            SELECT lane, not_before, queue_no, :max_tasks FROM heads
            WHERE (SELECT lanes FROM looked) = 1  -- it is to give all: nothing to compare
        ), picked AS MATERIALIZED (
            SELECT t.* FROM quotas l CROSS JOIN LATERAL ({_TAIL.format(limit="l.quota")}) t
        ), others AS MATERIALIZED (
            SELECT t.* FROM ({_FROM_HEADS.format(where=_IS_OTHER)}) l
            CROSS JOIN LATERAL ({_TAIL.format(limit="(SELECT page FROM looked)")}) t
            LIMIT :max_tasks - (SELECT count(*) FROM picked)
        ), gone AS (
            DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
                SELECT tid FROM picked UNION ALL SELECT tid FROM others))
            RETURNING {TASK_COLUMNS}
        ), started AS ({_START.format(moved="gone WHERE")}
        ), leased AS ({_LEASE.format(moved="gone")}
        )
        SELECT {_CLAIMED} FROM leased
        {told}
        UNION ALL
        SELECT NULL, yes::integer, (
                n > 3 AND EXISTS (SELECT FROM gone) AND (SELECT count(*) FROM gone) < :max_tasks
                AND EXISTS (SELECT FROM quotas WHERE quota >= page))::integer,
            ({many})::integer, lanes, statement_timestamp(), NULL, NULL, (seconds * 1e6)::bigint,
            NULL::integer
        FROM aside, looked
    """


_TELL = f"""
    UNION ALL
    (SELECT NULL, NULL, NULL, NULL, NULL, NULL, lane, not_before, queue_no, NULL FROM heads
     ORDER BY not_before, queue_no LIMIT GREATEST(:max_tasks, {_TOLD}))
"""
_CLAIM_ONLY = Statement(_claiming(MARKED, "", are_many("tasks")), locks=_LOCKS)
_CLAIM = {way: Statement(_claiming(asked(way), _TELL, are_many(way)), locks=_LOCKS) for way in WAYS}


def _arguments(wanted: Claim, begin: Begin) -> dict[str, object]:
    return {
        "max_tasks": wanted.max_tasks,
        "dispatcher_id": wanted.dispatcher_id,
        "lease_seconds": wanted.lease_seconds,
        "principal": wanted.principal,
        **begin.arguments(wanted.task_names, wanted.handlers),
    }


async def claim(tx: Tx, wanted: Claim, begin: Begin) -> ClaimResult:
    """Lease queued tasks that are due, oldest first; none while a rule is settling.

    With four lanes or more, each gives at most three times its share, so that no lane keeps others
    from being served. Waits for no row. The caller holds the pause lock shared.
    """
    statement = _CLAIM_ONLY if begin.is_only else _CLAIM[begin.way(wanted.handlers)]
    *rows, said = await tx.fetch(statement.text, *statement.arguments(**_arguments(wanted, begin)))
    claimed: list[Claimed] = []
    heads: dict[int, LaneCursor] = {}
    for row in rows:
        if row[0] is None:
            heads[row[6]] = row[7], row[8]
        else:
            claimed.append(Claimed(*row))
    tx.changes.changed(item.run_key for item in claimed)
    return ClaimResult(
        claimed,
        heads,
        len(heads) == said[4],
        bool(said[1]),
        bool(said[2]),
        bool(said[3]),
        said[8] / 1e6,
        said[5],
    )


_LOOKED_UP = """
    SELECT a.*, l.task_name, l.step_name FROM ({asked}) a CROSS JOIN LATERAL (
        SELECT task_name, step_name FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
"""


def _claiming_past_settling(way: Way) -> Statement:
    lanes = f"""
        SELECT l.*, {any_matches_lane("settling", "true", unknown="true")} AS is_mixed
        FROM ({_LOOKED_UP.format(asked=asked(way))}) l
        WHERE NOT {any_matches_lane("settling", "is_whole", unknown="false")}
    """
    of_heads = """(SELECT lane, task_name, step_name AS sole, not_before AS since,
        queue_no AS since_no FROM heads WHERE {which} ORDER BY not_before, queue_no) l"""
    matches = LANE_MAY_MATCH.replace("l.step_name", "l.sole")
    text = f"""
        WITH {SETTLING}, {_HEADS.format(lanes=lanes)}, clear AS MATERIALIZED (
            SELECT t.*, NULL::bigint AS rule_key FROM {of_heads.format(which="NOT is_mixed")}
            CROSS JOIN LATERAL ({_TAIL.format(limit="(SELECT page FROM looked)")}) t
            LIMIT 3 * :max_tasks
        ), mixed AS MATERIALIZED (
            SELECT t.*, (SELECT min(r.rule_key) FROM settling r
                WHERE {matches} AND (r.run_key IS NULL OR r.run_key = t.run_key)
                  AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
                  AND {SETTLES}) AS rule_key
            FROM {of_heads.format(which="is_mixed")}
            CROSS JOIN LATERAL ({_TAIL.format(limit="5 * (SELECT page FROM looked)")}) t
            LIMIT 5 * :max_tasks
        ), read AS MATERIALIZED (
            SELECT * FROM clear UNION ALL SELECT * FROM mixed
        ), moved AS (
            DELETE FROM zart.queue USING (
                SELECT tid, rule_key FROM read WHERE rule_key IS NOT NULL
                UNION ALL
                (SELECT tid, rule_key FROM read WHERE rule_key IS NULL
                 ORDER BY not_before, queue_no LIMIT :max_tasks)) h
            WHERE queue.ctid = h.tid
            RETURNING {TASK_COLUMNS}, rule_key
        ), held AS (
            INSERT INTO zart.held ({TASK_COLUMNS}, rule_key)
            SELECT {TASK_COLUMNS}, rule_key FROM moved WHERE rule_key IS NOT NULL
        ), started AS ({_START.format(moved="moved WHERE rule_key IS NULL AND")}
        ), leased AS ({_LEASE.format(moved="moved WHERE rule_key IS NULL")}
        )
        SELECT {_CLAIMED} FROM leased
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL
        FROM moved WHERE rule_key IS NOT NULL
    """
    return Statement(text, locks=_LOCKS)


_PAST_SETTLING = {way: _claiming_past_settling(way) for way in WAYS}


async def claim_past_settling(tx: Tx, wanted: Claim, begin: Begin) -> tuple[list[Claimed], int]:
    """Lease as ``claim`` does, while rules are settling, and pause tasks that they match.

    A lane of which a settling rule matches all is passed over; of a lane of which it may match
    some, at most five times the batch is read. Return also how many tasks were paused.
    """
    statement = _PAST_SETTLING[begin.way(wanted.handlers)]
    *rows, aside = await tx.fetch(statement.text, *statement.arguments(**_arguments(wanted, begin)))
    claimed = [Claimed(*row) for row in rows]
    tx.changes.changed(item.run_key for item in claimed)
    return claimed, aside[4]
