"""Leases: each is there until it is ended by its dispatcher, swept or fenced.

A lease ends under its run's lock (``end_leases``). An extension skips leases that another
transaction is ending, so that no two transactions wait for each other here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from zart_server.domain.model import StepError
from zart_server.store.arrays import Distinct, numbers
from zart_server.store.claims import Claimed
from zart_server.store.connection import Connection, Tx
from zart_server.store.lookups import only
from zart_server.store.queue import TASK_COLUMNS, parse_task_id
from zart_server.store.statement import Statement


class LeaseKey(NamedTuple):
    """What names a lease, and the principal whose it is."""

    run_key: int
    step_no: int
    token: int
    principal: str

    @classmethod
    def of_task(cls, task_id: str, token: int, principal: str) -> LeaseKey | None:
        """Return the key of a task's lease as callers name it; None: the text is no task id."""
        parsed = parse_task_id(task_id)
        return None if parsed is None else cls(parsed[0], parsed[1], token, principal)


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease past its end; overdue where that is the end of even its extensions.

    Of one that ends before that nobody knows how long its handler ran, however short its step may
    take: its dispatcher extended it no more.
    """

    lease: LeaseKey
    dispatcher_id: str
    timeout_seconds: float
    lease_seconds: float
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


def columns_of(leases: Sequence[LeaseKey]) -> dict[str, object]:
    """Return the parameters that ``NAMED`` takes, and the principals by their indexes."""
    run_keys, step_nos, tokens, principals = zip(*leases, strict=True)
    distinct: Distinct[str] = Distinct()
    indexes = numbers(map(distinct.index, principals))
    return {
        "run_keys": numbers(run_keys),
        "step_nos": numbers(step_nos),
        "tokens": numbers(tokens),
        "of_principals": indexes,
        "principals": distinct.values,
    }


# Leases as they are named: (run_key, step_no, token, index of the principal in :principals).
NAMED = """:run_keys::text::bigint[], :step_nos::text::integer[], :tokens::text::bigint[],
    :of_principals::text::integer[]"""

_RECORDED = Statement(
    f"""
    SELECT r, s, t, p FROM (
        SELECT r, s, t, (:principals::text[])[of_principal] AS p
        FROM unnest({NAMED}) u(r, s, t, of_principal)) u
    -- Not EXISTS: for many leases the planner would rather read all steps there are.
    WHERE COALESCE((
        SELECT true FROM zart.steps WHERE run_key = r AND step_no = s AND lease_token = t
          AND principal = p AND status = 'completed'), (
        SELECT true FROM zart.attempts WHERE run_key = r AND step_no = s AND lease_token = t
          AND principal = p AND NOT swept), false)
    """
)


async def recorded_leases(connection: Connection, leases: Sequence[LeaseKey]) -> set[LeaseKey]:
    """Return which leases ended by a report of the principal's own, not by the server."""
    rows = await connection.fetch(_RECORDED.text, *_RECORDED.arguments(**columns_of(leases)))
    return {LeaseKey(*row) for row in rows}


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
        INSERT INTO zart.queue ({TASK_COLUMNS})
        SELECT {TASK_COLUMNS} FROM gone
        """,
        [c.run_key for c in claimed],
        [c.step_no for c in claimed],
        [c.lease_token for c in claimed],
    )


# Where even the extensions of a lease end; one that ends before was not extended to the end.
_LONGEST = "started_at + (timeout_seconds + lease_seconds) * interval '1 second'"
_EXTEND = Statement(
    f"""
    WITH free AS MATERIALIZED (
        SELECT l.tid FROM unnest({NAMED}) u(r, s, t, of_principal) CROSS JOIN LATERAL (
            SELECT ctid AS tid FROM zart.leases
            WHERE run_key = r AND step_no = s AND lease_token = t
              AND principal = (:principals::text[])[of_principal]
            FOR UPDATE SKIP LOCKED) l
    )
    UPDATE zart.leases l SET lease_expires_at = GREATEST(l.lease_expires_at, LEAST(
        statement_timestamp() + l.lease_seconds * interval '1 second',
        {_LONGEST}))
    WHERE ctid = ANY(ARRAY(SELECT tid FROM free))
    RETURNING l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
        GREATEST(l.lease_expires_at - statement_timestamp(), interval '0')
    """,
    locks=("leases, passing over locked rows",),
)
_READ_ENDS = Statement(
    f"""
    SELECT l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
        GREATEST(l.lease_expires_at - statement_timestamp(), interval '0')
    FROM unnest({NAMED}) u(r, s, t, of_principal) CROSS JOIN LATERAL (
        SELECT * FROM zart.leases WHERE run_key = r AND step_no = s OFFSET 0) l
    WHERE l.lease_token = t AND l.principal = (:principals::text[])[of_principal]
    """
)


async def extend(
    connection: Connection, leases: Sequence[LeaseKey]
) -> dict[LeaseKey, tuple[datetime, timedelta]]:
    """Extend the principals' own leases by the time they were taken for.

    Never past start + timeout + lease. A lease that is past its end but not swept yet is good
    again; one that is being ended at this moment keeps its end. Gives new end and span left.
    """
    if not leases:
        return {}
    asked = sorted(set(leases))
    columns = columns_of(asked)
    rows = await connection.fetch(_EXTEND.text, *_EXTEND.arguments(**columns))
    found = {LeaseKey(*row[:4]): (row[4], row[5]) for row in rows}
    if len(found) < len(asked):
        rows = await connection.fetch(_READ_ENDS.text, *_READ_ENDS.arguments(**columns))
        found = {LeaseKey(*row[:4]): (row[4], row[5]) for row in rows} | found
    return found


async def expired_leases(
    connection: Connection,
    limit: int,
    since: datetime | None = None,
    before: datetime | None = None,
    without: Sequence[int] = (),
) -> ExpiredLeases:
    """Return leases past their end, which is within these times, oldest first; locks nothing.

    None of the runs ``without``.
    """
    rows = await connection.fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT * FROM zart.leases WHERE lease_expires_at <= statement_timestamp()
                AND lease_expires_at >= COALESCE($2::timestamptz, '-infinity')
                AND lease_expires_at < COALESCE($3::timestamptz, 'infinity')
                AND (run_key IN (SELECT unnest($4::text::bigint[]))) IS NOT TRUE
            ORDER BY lease_expires_at LIMIT $1
        ), looked AS MATERIALIZED (
            SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
            FROM (SELECT count(*) FROM found) f
        )
        SELECT statement_timestamp(), seconds, lease_expires_at, run_key, step_no, lease_token,
            principal, dispatcher_id, timeout_seconds, lease_seconds,
            lease_expires_at >= {_LONGEST}
        FROM looked LEFT JOIN found ON true ORDER BY lease_expires_at
        """,
        limit,
        since,
        before,
        numbers(without),
    )
    leases = [ExpiredLease(LeaseKey(*row[3:7]), *row[7:]) for row in rows if row[3] is not None]
    return ExpiredLeases(rows[0][0], rows[0][1], rows[0][2], leases)


async def read_lease(connection: Connection, lease: LeaseKey) -> asyncpg.Record | None:
    """Return a leased task's run and definition; None where it is not the principal's lease now."""
    return await connection.fetchrow(
        "SELECT r.run_key, r.definition_key FROM zart.leases l JOIN zart.runs r USING (run_key)"
        " WHERE l.run_key = $1 AND l.step_no = $2 AND l.lease_token = $3 AND l.principal = $4",
        *lease,
    )
