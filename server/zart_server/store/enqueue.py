"""Enqueues ready steps: into the queue, aside for a pause rule, or leased to a lessee."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import Distinct, numbers
from zart_server.store.connection import Tx
from zart_server.store.lessees import Lessee, lessee_columns
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.queue import READY_COLUMNS, TASK_COLUMNS
from zart_server.store.statement import Statement
from zart_server.store.steps import RerunSteps, rerun_steps
from zart_server.store.stored_graph import QueuedAs

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

    def arguments(self) -> dict[str, object]:
        """Return the parameters that ``enqueue_parts`` takes."""
        kinds, lessees = self.of_kind.values, self.of_lessee.values
        return {
            "ready_runs": numbers(self.run_keys),
            "ready_steps": numbers(self.step_nos),
            "attempts": numbers(self.attempts),
            "counted": numbers(self.counted),
            "backoff_bases": numbers(self.backoff_bases),
            "max_attempts": numbers(self.max_attempts),
            "delays": numbers(self.delays),
            "rule_keys": numbers(self.rule_keys),
            "kinds": numbers(self.kinds),
            "lessees": numbers(self.lessees),
            "after": numbers(self.after),
            "lanes": [kind.lane for kind in kinds],
            "step_names": [kind.step_name for kind in kinds],
            "timeouts": [kind.timeout_seconds for kind in kinds],
            "corrections": [kind.correction for kind in kinds],
            **lessee_columns(lessees),
        }


def enqueued(
    ids: str = ":lessee_ids",
    principals: str = ":lessee_principals",
    seconds: str = ":lessee_seconds",
) -> str:
    """Return the parts of a WITH that enqueue the steps of ``ready``, the last of them ``leased``.

    ``ready`` has the columns of a queued task, ``n``, the order in which steps are queued, a
    ``delay`` in seconds, the ``rule_key`` that withholds a step, 0: none, and the index of its
    ``lessee``, 0: none. The lessees are arrays, by default those of ``lessee_columns``.
    """
    return f"""
        queued AS (
            INSERT INTO zart.queue ({TASK_COLUMNS})
            SELECT {READY_COLUMNS}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp()
            FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held ({TASK_COLUMNS}, rule_key)
            SELECT {READY_COLUMNS}, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
            FROM ready WHERE rule_key <> 0 ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases ({TASK_COLUMNS}, lease_token, started_at, lease_expires_at,
                lease_seconds, dispatcher_id, principal)
            SELECT {READY_COLUMNS}, 0, statement_timestamp(), statement_timestamp(),
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + ({seconds}::float8[])[lessee] * interval '1 second',
                ({seconds}::float8[])[lessee], ({ids}::text[])[lessee],
                ({principals}::text[])[lessee]
            FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
    """


# For what no call leases at once: there are no lessees.
NO_LESSEES = ("'{}'", "'{}'", "'{}'")


def enqueue_parts(only_if: str) -> str:
    """Return the parts of a WITH that enqueue ready steps, the last of them ``leased``.

    ``only_if`` is true of the steps that are to be enqueued.
    """
    return f"""
        ready AS MATERIALIZED (
            SELECT u.*, (:lanes::integer[])[kind] AS lane, (:step_names::text[])[kind] AS step_name,
                (:timeouts::float8[])[kind] AS timeout_seconds,
                (:corrections::integer[])[kind] AS correction
            FROM unnest(:ready_runs::text::bigint[], :ready_steps::text::integer[],
                :attempts::text::integer[], :counted::text::integer[],
                :backoff_bases::text::integer[], :max_attempts::text::integer[],
                :delays::text::float8[], :rule_keys::text::bigint[], :kinds::text::integer[],
                :lessees::text::integer[], :after::text::bigint[])
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                delay, rule_key, kind, lessee, after, n)
            WHERE {only_if}
        ), {enqueued()}
    """


_IS_STILL = ":epoch = (SELECT epoch FROM now)"
_ENQUEUE, _ENQUEUE_WITH_STEPS = (
    Statement(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch),
        {steps}
        {enqueue_parts(_IS_STILL)}
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        locks=("pause lock, shared",),
    )
    for steps in ("", f"{rerun_steps(_IS_STILL)},")
)


async def enqueue_ready(tx: Tx, ready: ReadyRows, steps: RerunSteps | None = None) -> Leases | None:
    """Queue, pause or lease ready steps, and return the leases.

    Return None, having done nothing, if the rules have changed since the steps were judged. Inserts
    the ``steps`` of their reruns before. The caller has locked the runs. Takes the pause lock,
    shared, before it reads the epoch.
    """
    values = ready.arguments() | {"epoch": ready.judgement.epoch}
    statement = _ENQUEUE
    if steps is not None:
        statement = _ENQUEUE_WITH_STEPS
        values |= steps.arguments()
    rows = await tx.fetch(statement.text, *statement.arguments(**values))
    if rows[0][0] != ready.judgement.epoch:
        return None
    return leases_of(row[1:] for row in rows)


def leases_of(rows: Iterable[Sequence[Any]]) -> Leases:
    """Return the leases that ``leased`` of ``enqueued`` gave; what has no token is none."""
    return {(row[0], row[1]): (row[2], row[3]) for row in rows if row[2] is not None}
