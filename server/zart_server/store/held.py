"""Between queue and held: where ready steps are placed, moved aside and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.store.db import Tx
from zart_server.store.rules import SHARED_EPOCH

_COLUMNS = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, queue_no, not_before, scheduled_at, step_name"""


class Placement(NamedTuple):
    """A ready step: to be held where ``rule_key`` is set, leased where ``dispatcher_id`` is.

    Else it is queued, due after ``delay`` seconds.
    """

    run_key: int
    step_no: int
    lane: int
    step_name: str
    attempt: int
    counted: int
    backoff_base: int
    max_attempts: int
    timeout_seconds: float
    delay: float
    rule_key: int | None
    dispatcher_id: str | None
    principal: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class HeldStep:
    """A held step of a run whose row this transaction holds."""

    run_key: int
    step_no: int
    execution_id: str
    task_name: str
    handler: str
    step_name: str
    execution_key: int


_READY = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds"""


async def insert_ready(
    tx: Tx, ready: Sequence[Placement], epoch: int
) -> dict[tuple[int, int], tuple[int, datetime]] | None:
    """Queue, hold or lease ready steps; None, doing nothing, where the rules have changed since.

    Gives token and end of the leases by (run key, step number). The caller holds the run rows, and
    judged the steps by the rules of ``epoch``. Takes the pause lock, shared, before it looks.
    """
    rows = await tx.fetch(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch), ready AS MATERIALIZED (
            SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[],
                $5::integer[], $6::integer[], $7::integer[], $8::integer[], $9::float8[],
                $10::float8[], $11::bigint[], $12::text[], $13::text[], $14::float8[])
            WITH ORDINALITY u(run_key, step_no, lane, step_name, attempt, counted, backoff_base,
                max_attempts, timeout_seconds, delay, rule_key, dispatcher_id, principal,
                lease_seconds, n)
            WHERE $15 = (SELECT epoch FROM now)
        ), queued AS (
            INSERT INTO zart.queue ({_READY}, queue_no, not_before, scheduled_at, step_name)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(),
                step_name FROM ready WHERE rule_key IS NULL AND dispatcher_id IS NULL ORDER BY n
        ), held AS (
            INSERT INTO zart.held ({_READY}, queue_no, not_before, scheduled_at, step_name,
                                   rule_key)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(),
                step_name, rule_key FROM ready WHERE rule_key IS NOT NULL ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases ({_READY}, queue_no, not_before, scheduled_at, step_name,
                lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
            SELECT {_READY}, 0, statement_timestamp(), statement_timestamp(), step_name,
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + lease_seconds * interval '1 second', lease_seconds,
                dispatcher_id, principal
            FROM ready WHERE dispatcher_id IS NOT NULL ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        *zip(*ready, strict=True),
        epoch,
    )
    if rows[0]["epoch"] != epoch:
        return None
    return {(row[1], row[2]): (row[3], row[4]) for row in rows if row[1] is not None}


class HeldAt(NamedTuple):
    """Where a held step stands in the order of those of its rule, and its run."""

    not_before: datetime
    queue_no: int
    run_key: int


async def held_by(tx: Tx, rule_key: int, after: HeldAt | None, limit: int) -> list[HeldAt]:
    """Give the oldest held steps attributed to a rule, after one of them; locks nothing."""
    rows = await tx.fetch(
        "SELECT not_before, queue_no, run_key FROM zart.held WHERE rule_key = $1"
        " AND (not_before, queue_no) > (COALESCE($2, '-infinity'::timestamptz), $3::bigint)"
        " ORDER BY not_before, queue_no LIMIT $4",
        rule_key,
        None if after is None else after.not_before,
        -1 if after is None else after.queue_no,
        limit,
    )
    return [HeldAt(*row) for row in rows]


async def held_in_runs(
    tx: Tx, rule_key: int, run_keys: Sequence[int], limit: int
) -> list[HeldStep]:
    """Give the oldest held steps, attributed to a rule, of runs that this transaction holds."""
    rows = await tx.fetch(
        """
        SELECT h.run_key, h.step_no, e.execution_id, e.task_name, l.handler, h.step_name,
               e.execution_key
        FROM zart.held h JOIN zart.lanes l USING (lane) JOIN zart.runs USING (run_key)
        JOIN zart.executions e USING (execution_key)
        WHERE h.rule_key = $1 AND h.run_key = ANY($2::bigint[])
        ORDER BY h.not_before, h.queue_no LIMIT $3
        """,
        rule_key,
        run_keys,
        limit,
    )
    return [HeldStep(*row) for row in rows]


async def release(tx: Tx, steps: Sequence[tuple[int, int, int | None]], epoch: int) -> bool:
    """Queue held steps, as (run key, step number, rule key); a rule key re-attributes instead.

    Place in the queue, not_before and attempts stay. The caller holds the run rows and the pause
    lock shared; False, doing nothing, where the rules have changed since ``epoch``.
    """
    found = await tx.fetchval(
        f"""
        WITH steps AS MATERIALIZED (
            SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[])
                u(run_key, step_no, rule)
            WHERE $4 = (SELECT epoch FROM zart.pause_epoch)
        ), picked AS MATERIALIZED (
            SELECT h.tid, s.rule FROM steps s CROSS JOIN LATERAL (
                SELECT ctid AS tid FROM zart.held
                WHERE held.run_key = s.run_key AND held.step_no = s.step_no OFFSET 0) h
        ), kept AS (
            UPDATE zart.held h SET rule_key = (SELECT rule FROM picked p WHERE p.tid = h.ctid)
            WHERE ctid = ANY(ARRAY(SELECT tid FROM picked WHERE rule IS NOT NULL))
        ), gone AS (
            DELETE FROM zart.held WHERE ctid = ANY(ARRAY(SELECT tid FROM picked WHERE rule IS NULL))
            RETURNING {_COLUMNS}
        ), queued AS (
            INSERT INTO zart.queue ({_COLUMNS}) SELECT {_COLUMNS} FROM gone
            ORDER BY not_before, queue_no
        )
        SELECT epoch FROM zart.pause_epoch
        """,
        [run_key for run_key, _, _ in steps],
        [step_no for _, step_no, _ in steps],
        [rule for _, _, rule in steps],
        epoch,
    )
    return bool(found == epoch)


async def is_holding(tx: Tx, rule_key: int) -> bool:
    """Tell whether held steps are attributed to a rule."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM zart.held WHERE rule_key = $1)", rule_key
    )
    return found
