"""Enqueues ready steps: into the queue, aside for a pause rule, or leased to a lessee."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import Distinct, numbers
from zart_server.store.db import Tx
from zart_server.store.definitions import QueuedAs
from zart_server.store.lessees import Lessee
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.steps import RerunSteps, rerun_steps

# Token and end of leases, by run key and step number.
Leases: TypeAlias = dict[tuple[int, int], tuple[int, datetime]]


@dataclass(slots=True)
class ReadyRows:
    """Ready steps, column by column: to be paused by a rule, leased by a lessee, or else queued.

    ``rule_keys`` are those of the ``judgement``, which is written only if it still holds.
    """

    judgement: Judgement
    run_keys: list[int] = field(default_factory=list)
    step_nos: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    backoff_bases: list[int] = field(default_factory=list)
    max_attempts: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # seconds
    rule_keys: list[int] = field(default_factory=list)  # 0: none
    kinds: list[int] = field(default_factory=list)
    lessees: list[int] = field(default_factory=list)  # 0: none
    after: list[int] = field(default_factory=list)  # of the verdict that made it ready, if any
    of_kind: Distinct[QueuedAs] = field(default_factory=Distinct)
    of_lessee: Distinct[Lessee] = field(default_factory=Distinct)

    def arguments(self) -> tuple[object, ...]:
        """Return the seventeen values that ``enqueue_parts`` takes."""
        kinds, lessees = self.of_kind.values, self.of_lessee.values
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
            numbers(self.lessees),
            numbers(self.after),
            [kind.lane for kind in kinds],
            [kind.step_name for kind in kinds],
            [kind.timeout_seconds for kind in kinds],
            [lessee.dispatcher_id for lessee in lessees],
            [lessee.principal for lessee in lessees],
            [lessee.lease_seconds for lessee in lessees],
        )


_READY = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, step_name"""


def enqueued(ids: str = "'{}'", principals: str = "'{}'", seconds: str = "'{}'") -> str:
    """Return the parts of a WITH that enqueue the steps of ``ready``, the last of them ``leased``.

    ``ready`` has the columns of a queued task, ``n``, the order in which steps are queued, a
    ``delay`` in seconds, the ``rule_key`` that withholds a step, 0: none, and the index of its
    ``lessee``, 0: none. The arguments are arrays: ids, principals and lease seconds of lessees.
    """
    return f"""
        queued AS (
            INSERT INTO zart.queue ({_READY}, queue_no, not_before, scheduled_at)
            SELECT {_READY}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp()
            FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
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
                statement_timestamp() + ({seconds}::float8[])[lessee] * interval '1 second',
                ({seconds}::float8[])[lessee], ({ids}::text[])[lessee],
                ({principals}::text[])[lessee]
            FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
    """


def enqueue_parts(first: int, only_if: str) -> str:
    """Return the parts of a WITH that enqueue ready steps, the last of them ``leased``.

    Their arguments begin at $first; ``only_if`` is true of the steps that are to be enqueued.
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
                delay, rule_key, kind, lessee, after, n)
            WHERE {only_if}
        ), {enqueued(p[14], p[15], p[16])}
    """


async def enqueue_ready(tx: Tx, ready: ReadyRows, steps: RerunSteps | None = None) -> Leases | None:
    """Queue, pause or lease ready steps, and return the leases.

    Return None, having done nothing, if the rules have changed since the steps were judged. Inserts
    the ``steps`` of their reruns before. The caller has locked the runs. Takes the pause lock,
    shared, before it reads the epoch.
    """
    is_still = "$18 = (SELECT epoch FROM now)"
    rows = await tx.fetch(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch),
        {"" if steps is None else rerun_steps(19, is_still) + ","}
        {enqueue_parts(1, is_still)}
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        *ready.arguments(),
        ready.judgement.epoch,
        *(() if steps is None else steps.arguments()),
    )
    if rows[0][0] != ready.judgement.epoch:
        return None
    return {(row[1], row[2]): (row[3], row[4]) for row in rows if row[1] is not None}
