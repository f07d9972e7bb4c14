"""Leased tasks: what dispatchers hold, until it is ended, swept or fenced.

They end under their run's lock (``ending``); extensions take only what nobody else is ending, so
that no two transactions ever wait for each other here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

import asyncpg

from zart_server.domain.model import StepError
from zart_server.store.arrays import Distinct, numbers
from zart_server.store.claims import Claimed
from zart_server.store.db import Tx
from zart_server.store.lookups import only

# A lease: run key, step number, token, and the principal whose it is.
LeaseKey: TypeAlias = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease past its end; overdue where even its extensions had to end."""

    lease: LeaseKey
    dispatcher_id: str
    timeout_seconds: float
    is_overdue: bool


class ExpiredLeases(NamedTuple):
    """Leases past their end, as of ``now``, and how many seconds it took to find them."""

    now: datetime
    seconds: float
    first: datetime | None  # the earliest end
    leases: list[ExpiredLease]


def error_to_json(error: StepError | None) -> str | None:
    """Return the stored form of an error."""
    return None if error is None else json.dumps(asdict(error), ensure_ascii=False)


def error_from_json(text: str | None) -> StepError | None:
    """Read the stored form of an error."""
    return None if text is None else StepError(**json.loads(text))


def columns_of(leases: Sequence[LeaseKey]) -> tuple[str, str, str, str, list[str]]:
    """Return run keys, step numbers, tokens, indexes of principals, and the principals."""
    run_keys, step_nos, tokens, principals = zip(*leases, strict=True)
    distinct: Distinct[str] = Distinct()
    indexes = numbers(map(distinct.index, principals))
    return numbers(run_keys), numbers(step_nos), numbers(tokens), indexes, distinct.values


# As the arguments that columns_of makes; $5 are the principals.
_NAMED = """unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
    $4::text::integer[])"""


async def recorded_leases(tx: Tx, leases: Sequence[LeaseKey]) -> set[LeaseKey]:
    """Return which leases ended by a report of the principal's own, not by the server."""
    rows = await tx.fetch(
        f"""
        SELECT r, s, t, p FROM (
            SELECT r, s, t, ($5::text[])[of_principal] AS p
            FROM {_NAMED} u(r, s, t, of_principal)) u
        -- Not EXISTS: for many leases the planner would rather read all steps there are.
        WHERE COALESCE((
            SELECT true FROM zart.steps WHERE run_key = r AND step_no = s AND lease_token = t
              AND principal = p AND status = 'completed'), (
            SELECT true FROM zart.attempts WHERE run_key = r AND step_no = s AND lease_token = t
              AND principal = p AND NOT swept), false)
        """,
        *columns_of(leases),
    )
    return {(row[0], row[1], row[2], row[3]) for row in rows}


async def unclaim(tx: Tx, claimed: Sequence[Claimed]) -> None:
    """Undo leases of this very transaction that do not fit into the response."""
    await tx.execute(
        f"""
        WITH gone AS (
            DELETE FROM zart.leases l
            USING unnest($1::bigint[], $2::integer[], $3::bigint[]) u(run_key, step_no, token)
            WHERE l.run_key = {only("u.run_key")} AND l.step_no = u.step_no
              AND l.lease_token = u.token
            RETURNING l.*
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
    columns = columns_of(asked)
    rows = await tx.fetch(
        f"""
        WITH free AS MATERIALIZED (
            SELECT l.tid FROM {_NAMED} u(r, s, t, of_principal) CROSS JOIN LATERAL (
                SELECT ctid AS tid FROM zart.leases
                WHERE run_key = r AND step_no = s AND lease_token = t
                  AND principal = ($5::text[])[of_principal]
                FOR UPDATE SKIP LOCKED) l
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
            FROM {_NAMED} u(r, s, t, of_principal) CROSS JOIN LATERAL (
                SELECT * FROM zart.leases WHERE run_key = r AND step_no = s OFFSET 0) l
            WHERE l.lease_token = t AND l.principal = ($5::text[])[of_principal]
            """,
            *columns,
        )
        found = {(r[0], r[1], r[2], r[3]): (r[4], r[5]) for r in rows} | found
    return found


async def expired_leases(
    tx: Tx, limit: int, since: datetime | None = None, before: datetime | None = None
) -> ExpiredLeases:
    """Return leases past their end, which is within these times, oldest first; locks nothing."""
    rows = await tx.fetch(
        """
        WITH found AS MATERIALIZED (
            SELECT * FROM zart.leases WHERE lease_expires_at <= statement_timestamp()
                AND lease_expires_at >= COALESCE($2::timestamptz, '-infinity')
                AND lease_expires_at < COALESCE($3::timestamptz, 'infinity')
            ORDER BY lease_expires_at LIMIT $1
        ), looked AS MATERIALIZED (
            SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
            FROM (SELECT count(*) FROM found) f
        )
        SELECT statement_timestamp(), seconds, lease_expires_at, run_key, step_no, lease_token,
            principal, dispatcher_id, timeout_seconds,
            started_at + timeout_seconds * interval '1 second' <= statement_timestamp()
        FROM looked LEFT JOIN found ON true ORDER BY lease_expires_at
        """,
        limit,
        since,
        before,
    )
    leases = [
        ExpiredLease((row[3], row[4], row[5], row[6]), row[7], row[8], row[9])
        for row in rows
        if row[3] is not None
    ]
    return ExpiredLeases(rows[0][0], rows[0][1], rows[0][2], leases)


async def read_lease(tx: Tx, lease: LeaseKey) -> asyncpg.Record | None:
    """Return a leased task's run and definition; None where it is not the principal's lease now."""
    return await tx.fetchrow(
        "SELECT r.run_key, r.definition_key FROM zart.leases l JOIN zart.runs r USING (run_key)"
        " WHERE l.run_key = $1 AND l.step_no = $2 AND l.lease_token = $3 AND l.principal = $4",
        *lease,
    )
