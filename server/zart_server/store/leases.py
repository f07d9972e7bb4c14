"""Leased tasks: what dispatchers hold, until it is ended, swept or fenced.

Ended ones are deleted under their run's lock; extensions take only what nobody else is ending, so
that no two transactions ever wait for each other here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

import asyncpg

from zart_server.domain.model import AttemptStatus, StepError
from zart_server.store.arrays import Distinct, numbers, words
from zart_server.store.db import Tx
from zart_server.store.queue import Claimed

# A lease: run key, step number, token, and the principal whose it is.
LeaseKey: TypeAlias = tuple[int, int, int, str]


class Told(NamedTuple):
    """How an attempt ended, as its dispatcher or the sweep tells."""

    lease: LeaseKey
    status: AttemptStatus
    result_json: str | None = None
    retryable: bool = True
    error: StepError | None = None


class Ended(NamedTuple):
    """A lease that ended. ``final`` is 'completed' or 'dead', None: the step is queued again.

    ``counted`` includes this attempt where it counts.
    """

    run_key: int
    step_no: int
    lease_token: int
    principal: str
    attempt: int
    counted: int
    backoff_base: int
    max_attempts: int
    final: str | None

    @property
    def lease(self) -> LeaseKey:
        """What it was told of by."""
        return self.run_key, self.step_no, self.lease_token, self.principal


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease past its end; overdue where even its extensions had to end."""

    lease: LeaseKey
    dispatcher_id: str
    timeout_seconds: float
    is_overdue: bool


def error_to_json(error: StepError | None) -> str | None:
    """Give the stored form of an error."""
    return None if error is None else json.dumps(asdict(error), ensure_ascii=False)


def error_from_json(text: str | None) -> StepError | None:
    """Read the stored form of an error."""
    return None if text is None else StepError(**json.loads(text))


def _columns(leases: Sequence[LeaseKey]) -> tuple[str, str, str, str, list[str]]:
    """Give run keys, step numbers, tokens, places of principals, and the principals."""
    run_keys, step_nos, tokens, principals = zip(*leases, strict=True)
    distinct: Distinct[str] = Distinct()
    places = numbers(map(distinct.place, principals))
    return numbers(run_keys), numbers(step_nos), numbers(tokens), places, distinct.values


# As the arguments that _columns makes; $5 are the principals.
_NAMED = """unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
    $4::text::integer[])"""


async def end_leases(tx: Tx, told: Sequence[Told], *, swept: bool) -> list[Ended]:
    """End the leases that are current: delete them, record the attempts, finish their steps.

    A completed attempt becomes part of its step's row. With ``swept`` leases that were extended
    meanwhile stay. No lease may be told of twice. The caller holds the run rows.
    """
    leases, statuses, results, retryable, errors = zip(*told, strict=True)
    rows = await tx.fetch(
        """
        WITH told AS MATERIALIZED (
            SELECT u.*, ($5::text[])[of_principal] AS principal
            FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
                $4::text::integer[], $6::text::text[], $7::text::boolean[], $8::text[], $9::text[])
            u(run_key, step_no, lease_token, of_principal, status, retryable, result, error)
        ), ended AS (
            DELETE FROM zart.leases l USING told t
            WHERE l.run_key = t.run_key AND l.step_no = t.step_no
              AND l.lease_token = t.lease_token AND l.principal = t.principal
              AND (NOT $10 OR l.lease_expires_at <= statement_timestamp())
            RETURNING l.*, t.status, t.retryable, t.result::json AS result,
                t.error::json AS error,
                l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
                CASE WHEN t.status = 'completed' THEN 'completed'
                     WHEN t.status <> 'released'
                          AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
                     THEN 'dead' END AS final
        ), attempts AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, error, started_at, completed_at)
            SELECT run_key, step_no, attempt, status, $10, dispatcher_id, principal, lease_token,
                   error, started_at, statement_timestamp()
            FROM ended WHERE status <> 'completed'
        ), steps AS (
            UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
                counted = e.now_counted, max_attempts = e.max_attempts,
                retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
                scheduled_at = e.scheduled_at, started_at = e.started_at,
                completed_at = statement_timestamp(), lease_token = e.lease_token,
                dispatcher_id = e.dispatcher_id, principal = e.principal
            FROM ended e
            WHERE e.final IS NOT NULL AND s.run_key = e.run_key AND s.step_no = e.step_no
              AND s.status = 'open'
        )
        SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
               max_attempts, final FROM ended
        """,
        *_columns(leases),
        words(statuses),
        words("t" if yes else "f" for yes in retryable),
        results,
        [None if error is None else error_to_json(error) for error in errors],
        swept,
    )
    return [Ended(*row) for row in rows]


async def recorded_leases(tx: Tx, leases: Sequence[LeaseKey]) -> set[LeaseKey]:
    """Tell which leases ended by a report of the principal's own, not by the server."""
    rows = await tx.fetch(
        f"""
        SELECT r, s, t, p FROM (
            SELECT r, s, t, ($5::text[])[place] AS p FROM {_NAMED} u(r, s, t, place)) u
        WHERE EXISTS (
            SELECT FROM zart.steps WHERE run_key = r AND step_no = s AND lease_token = t
              AND principal = p AND status = 'completed')
           OR EXISTS (
            SELECT FROM zart.attempts WHERE run_key = r AND step_no = s AND lease_token = t
              AND principal = p AND NOT swept)
        """,
        *_columns(leases),
    )
    return {(row[0], row[1], row[2], row[3]) for row in rows}


async def unclaim(tx: Tx, claimed: Sequence[Claimed]) -> None:
    """Undo leases of this very transaction that do not fit into the response."""
    await tx.execute(
        """
        WITH gone AS (
            DELETE FROM zart.leases WHERE lease_token = ANY($3::bigint[])
                AND (run_key, step_no) IN (SELECT * FROM unnest($1::bigint[], $2::integer[]))
            RETURNING *
        )
        INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base,
            max_attempts, timeout_seconds, queue_no, not_before, scheduled_at, step_name)
        SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, queue_no, not_before, scheduled_at, step_name FROM gone
        """,
        [c.run_key for c in claimed],
        [c.step_no for c in claimed],
        [c.lease_token for c in claimed],
    )


async def extend(tx: Tx, leases: Sequence[LeaseKey]) -> dict[LeaseKey, tuple[datetime, timedelta]]:
    """Extend the principals' own leases by the time they were taken for.

    Never past start + timeout + lease. A lease that is past its end but not swept yet is good
    again; one that is being ended at this moment keeps its end. Gives new end and span left.
    """
    if not leases:
        return {}
    asked = sorted(set(leases))
    columns = _columns(asked)
    rows = await tx.fetch(
        f"""
        WITH free AS MATERIALIZED (
            SELECT l.ctid AS tid FROM zart.leases l
            JOIN {_NAMED} u(r, s, t, place) ON l.run_key = r AND l.step_no = s
                AND l.lease_token = t AND l.principal = ($5::text[])[place]
            FOR UPDATE OF l SKIP LOCKED
        )
        UPDATE zart.leases l SET lease_expires_at = GREATEST(l.lease_expires_at, LEAST(
            statement_timestamp() + l.lease_seconds * interval '1 second',
            l.started_at + (l.timeout_seconds + l.lease_seconds) * interval '1 second'))
        WHERE ctid = ANY(ARRAY(SELECT tid FROM free))
        RETURNING l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
            GREATEST(l.lease_expires_at - statement_timestamp(), interval '0')
        """,
        *columns,
    )
    found = {(r[0], r[1], r[2], r[3]): (r[4], r[5]) for r in rows}
    if len(found) < len(asked):
        rows = await tx.fetch(
            f"""
            SELECT l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
                GREATEST(l.lease_expires_at - statement_timestamp(), interval '0')
            FROM zart.leases l
            JOIN {_NAMED} u(r, s, t, place) ON l.run_key = r AND l.step_no = s
                AND l.lease_token = t AND l.principal = ($5::text[])[place]
            """,
            *columns,
        )
        found = {(r[0], r[1], r[2], r[3]): (r[4], r[5]) for r in rows} | found
    return found


async def expired_leases(tx: Tx, limit: int) -> list[ExpiredLease]:
    """Give leases past their end, oldest first; locks nothing."""
    rows = await tx.fetch(
        "SELECT run_key, step_no, lease_token, principal, dispatcher_id, timeout_seconds,"
        " started_at + timeout_seconds * interval '1 second' <= statement_timestamp()"
        " FROM zart.leases WHERE lease_expires_at <= statement_timestamp()"
        " ORDER BY lease_expires_at LIMIT $1",
        limit,
    )
    return [ExpiredLease((row[0], row[1], row[2], row[3]), row[4], row[5], row[6]) for row in rows]


async def read_lease(tx: Tx, lease: LeaseKey) -> asyncpg.Record | None:
    """Give a leased task's run and definition; None where it is not the principal's lease now."""
    return await tx.fetchrow(
        "SELECT r.run_key, r.definition_key FROM zart.leases l JOIN zart.runs r USING (run_key)"
        " WHERE l.run_key = $1 AND l.step_no = $2 AND l.lease_token = $3 AND l.principal = $4",
        *lease,
    )
