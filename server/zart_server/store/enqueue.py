"""Places ready steps: in the queue, aside for a pause rule, or leased at once to a taker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from zart_server.store.arrays import Distinct, numbers
from zart_server.store.db import Tx
from zart_server.store.definitions import QueuedAs
from zart_server.store.lessees import Taker
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.steps import RerunSteps, rerun_steps

# Token and end of leases, by run key and step number.
Leases: TypeAlias = dict[tuple[int, int], tuple[int, datetime]]


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
    after: list[int] = field(default_factory=list)  # what each follows, as the caller counts
    of_kind: Distinct[QueuedAs] = field(default_factory=Distinct)
    of_taker: Distinct[Taker] = field(default_factory=Distinct)

    def arguments(self) -> tuple[object, ...]:
        """Return the seventeen values that ``placing`` takes."""
        kinds, takers = self.of_kind.values, self.of_taker.values
        return (
            numbers(self.run_keys),
            numbers(self.step_nos),
            numbers(self.attempts),
            numbers(self.counted),
            numbers(self.backoff_bases),
            numbers(self.max_attempts),
            numbers(self.delays),
            numbers(self.rule_keys),
            numbers(self.kinds),
            numbers(self.takers),
            numbers(self.after),
            [kind.lane for kind in kinds],
            [kind.step_name for kind in kinds],
            [kind.timeout_seconds for kind in kinds],
            [taker.dispatcher_id for taker in takers],
            [taker.principal for taker in takers],
            [taker.lease_seconds for taker in takers],
        )


_READY = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, step_name"""


def placed(ids: str = "'{}'", principals: str = "'{}'", seconds: str = "'{}'") -> str:
    """Return the parts of a WITH that place the steps of ``ready``, the last of them ``leased``.

    It has the columns of a queued task, ``n``, by which they are queued, a ``delay`` in seconds,
    the ``rule_key`` that holds it and the ``taker`` that leases it, 0: none. The others are arrays
    of what is stored of takers: who they are, and for how many seconds they lease.
    """
    return f"""
        queued AS (
            INSERT INTO zart.queue ({_READY}, queue_no, not_before, scheduled_at)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp()
            FROM ready WHERE rule_key = 0 AND taker = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held ({_READY}, queue_no, not_before, scheduled_at, rule_key)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
            FROM ready WHERE rule_key <> 0 ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases ({_READY}, queue_no, not_before, scheduled_at, lease_token,
                started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
            SELECT {_READY}, 0, statement_timestamp(), statement_timestamp(),
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + ({seconds}::float8[])[taker] * interval '1 second',
                ({seconds}::float8[])[taker], ({ids}::text[])[taker], ({principals}::text[])[taker]
            FROM ready WHERE rule_key = 0 AND taker <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
    """


def placing(first: int, only_if: str) -> str:
    """Return the parts of a WITH that place ready steps, the last of them ``leased``.

    Their arguments begin at $first; ``only_if`` says of each step whether it is to be placed.
    """
    p = [f"${number}" for number in range(first, first + 17)]
    return f"""
        ready AS MATERIALIZED (
            SELECT u.*, ({p[11]}::integer[])[kind] AS lane, ({p[12]}::text[])[kind] AS step_name,
                ({p[13]}::float8[])[kind] AS timeout_seconds
            FROM unnest({p[0]}::text::bigint[], {p[1]}::text::integer[], {p[2]}::text::integer[],
                {p[3]}::text::integer[], {p[4]}::text::integer[], {p[5]}::text::integer[],
                {p[6]}::text::float8[], {p[7]}::text::bigint[], {p[8]}::text::integer[],
                {p[9]}::text::integer[], {p[10]}::text::bigint[])
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                delay, rule_key, kind, taker, after, n)
            WHERE {only_if}
        ), {placed(p[14], p[15], p[16])}
    """


async def insert_ready(
    tx: Tx, ready: Placements, epoch: int, steps: RerunSteps | None = None
) -> Leases | None:
    """Queue, hold or lease ready steps; None, doing nothing, where the rules have changed since.

    Inserts the ``steps`` of their reruns before. Gives the leases. The caller holds the run rows,
    and judged the steps by the rules of ``epoch``. Takes the pause lock, shared, before it looks.
    """
    is_still = "$18 = (SELECT epoch FROM now)"
    rows = await tx.fetch(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch),
        {"" if steps is None else rerun_steps(19, is_still) + ","}
        {placing(1, is_still)}
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        *ready.arguments(),
        epoch,
        *(() if steps is None else steps.arguments()),
    )
    if rows[0][0] != epoch:
        return None
    return {(row[1], row[2]): (row[3], row[4]) for row in rows if row[1] is not None}
