"""Between queue and held: where ready steps are placed, moved aside and released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from zart_server.store.arrays import Distinct, numbers
from zart_server.store.db import Tx
from zart_server.store.definitions import QueuedAs
from zart_server.store.rules import SHARED_EPOCH
from zart_server.store.takers import Taker

_COLUMNS = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, queue_no, not_before, scheduled_at, step_name"""


@dataclass(slots=True)
class Placements:
    """Ready steps, column by column: to be held by a rule, leased by a taker, or else queued."""

    run_keys: list[int] = field(default_factory=list)
    step_nos: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    backoff_bases: list[int] = field(default_factory=list)
    max_attempts: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # seconds
    rule_keys: list[int] = field(default_factory=list)  # 0: none
    kinds: list[int] = field(default_factory=list)
    takers: list[int] = field(default_factory=list)  # 0: none
    of_kind: Distinct[QueuedAs] = field(default_factory=Distinct)
    of_taker: Distinct[Taker] = field(default_factory=Distinct)


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
    tx: Tx, ready: Placements, epoch: int
) -> dict[tuple[int, int], tuple[int, datetime]] | None:
    """Queue, hold or lease ready steps; None, doing nothing, where the rules have changed since.

    Gives token and end of the leases by (run key, step number). The caller holds the run rows, and
    judged the steps by the rules of ``epoch``. Takes the pause lock, shared, before it looks.
    """
    kinds, takers = ready.of_kind.values, ready.of_taker.values
    rows = await tx.fetch(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch), ready AS MATERIALIZED (
            SELECT u.*, ($11::integer[])[kind] AS lane, ($12::text[])[kind] AS step_name,
                ($13::float8[])[kind] AS timeout_seconds
            FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::integer[],
                $4::text::integer[], $5::text::integer[], $6::text::integer[],
                $7::text::float8[], $8::text::bigint[], $9::text::integer[],
                $10::text::integer[])
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                delay, rule_key, kind, taker, n)
            WHERE $14 = (SELECT epoch FROM now)
        ), queued AS (
            INSERT INTO zart.queue ({_READY}, queue_no, not_before, scheduled_at, step_name)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(),
                step_name FROM ready WHERE rule_key = 0 AND taker = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held ({_READY}, queue_no, not_before, scheduled_at, step_name,
                                   rule_key)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(),
                step_name, rule_key FROM ready WHERE rule_key <> 0 ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases ({_READY}, queue_no, not_before, scheduled_at, step_name,
                lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
            SELECT {_READY}, 0, statement_timestamp(), statement_timestamp(), step_name,
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + ($17::float8[])[taker] * interval '1 second',
                ($17::float8[])[taker], ($15::text[])[taker], ($16::text[])[taker]
            FROM ready WHERE taker <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        numbers(ready.run_keys),
        numbers(ready.step_nos),
        numbers(ready.attempts),
        numbers(ready.counted),
        numbers(ready.backoff_bases),
        numbers(ready.max_attempts),
        numbers(ready.delays),
        numbers(ready.rule_keys),
        numbers(ready.kinds),
        numbers(ready.takers),
        [kind.lane for kind in kinds],
        [kind.step_name for kind in kinds],
        [kind.timeout_seconds for kind in kinds],
        epoch,
        [taker.dispatcher_id for taker in takers],
        [taker.principal for taker in takers],
        [taker.lease_seconds for taker in takers],
    )
    if rows[0][0] != epoch:
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
