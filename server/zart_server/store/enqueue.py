"""Enqueues ready steps: into the queue, aside for a pause rule, or leased to a lessee."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, TypeAlias

from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import numbers
from zart_server.store.connection import Tx
from zart_server.store.lessees import Lessee, lessee_columns
from zart_server.store.pausing.rules import PATIENT_EPOCH
from zart_server.store.queue import READY_COLUMNS, TASK_COLUMNS, LaneCursor
from zart_server.store.statement import Statement
from zart_server.store.steps import RerunSteps, rerun_steps
from zart_server.store.stored_graph import QueuedAs

# Token and end of leases, by run key and step number.
Leases: TypeAlias = dict[tuple[int, int], tuple[int, datetime]]


# The parameters that the columns of ReadyRows.rows are.
_COLUMNS = (
    "ready_runs",
    "ready_steps",
    "attempts",
    "counted",
    "backoff_bases",
    "max_attempts",
    "delays",
    "rule_keys",
    "kinds",
    "lessees",
)


@dataclass(slots=True)
class ReadyRows:
    """Ready steps: to be paused by a rule, leased by a lessee, or else queued.

    A row has run key, step number, attempt, counted, backoff_base, max_attempts, the delay in
    seconds, the key of its rule (0: none) and the indexes, from 1, of its kind and its lessee (0:
    none). The rules are those of the ``judgement``, which is written only if it still holds.
    ``after``: the verdict that made each step ready, if any did. ``places``: where steps stand
    again, None: at the end of their lane; empty where that is so of all.
    """

    judgement: Judgement
    rows: Sequence[tuple[int, int, int, int, int, int, float, int, int, int]]
    kinds: Sequence[QueuedAs]
    lessees: Sequence[Lessee]
    after: Sequence[int] = ()
    places: Sequence[LaneCursor | None] = ()

    def arguments(self) -> dict[str, object]:
        """Return the parameters that ``enqueue_parts`` takes."""
        columns = map(numbers, zip(*self.rows, strict=True)) if self.rows else repeat("{}")
        return {
            **dict(zip(_COLUMNS, columns, strict=False)),
            "after": numbers(self.after),
            "lanes": [kind.lane for kind in self.kinds],
            "step_names": [kind.step_name for kind in self.kinds],
            "timeouts": [kind.timeout_seconds for kind in self.kinds],
            "corrections": [kind.correction for kind in self.kinds],
            **lessee_columns(self.lessees),
        }

    def arguments_of_places(self) -> dict[str, object]:
        """Return the parameters that ``enqueue_parts`` takes besides, for steps with places."""
        return {
            "place_times": [place and place[0] for place in self.places],
            "place_numbers": [place and place[1] for place in self.places],
        }


def enqueued(
    ids: str = ":lessee_ids",
    principals: str = ":lessee_principals",
    seconds: str = ":lessee_seconds",
    now: str = "clock_timestamp()",
    *,
    keeps_places: bool = False,
) -> str:
    """Return the parts of a WITH that enqueue the steps of ``ready``, the last of them ``leased``.

    ``ready`` has the columns of a queued task, ``n``, the order in which steps are queued, a
    ``delay`` in seconds, the ``rule_key`` that withholds a step, 0: none, and the index of its
    ``lessee``, 0: none. The lessees are arrays, by default those of ``lessee_columns``. A step is
    scheduled ``now``: after what the statement has waited for. Whoever selects steps meanwhile, as
    a plan does, sees that it is not yet. With ``keeps_places`` a step may stand in its lane where
    it did before, and is scheduled ``now`` all the same: ``ready`` has its ``place_at``, NULL: it
    has no place, and ``place_no``, 0: it had no number.
    """
    number, due = "nextval('zart.queue_numbers')", f"{now} + delay * interval '1 second'"
    if keeps_places:
        number = f"COALESCE(NULLIF(place_no, 0), {number})"
        due = f"COALESCE(place_at, {due})"
    return f"""
        queued AS (
            INSERT INTO zart.queue ({TASK_COLUMNS})
            SELECT {READY_COLUMNS}, {number},
                {due}, {now}
            FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held ({TASK_COLUMNS}, rule_key)
            SELECT {READY_COLUMNS}, {number},
                {due}, {now}, rule_key
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


def enqueue_parts(only_if: str, *, keeps_places: bool = False) -> str:
    """Return the parts of a WITH that enqueue ready steps, the last of them ``leased``.

    ``only_if`` is true of the steps that are to be enqueued.
    """
    places, columns = "", ""
    if keeps_places:
        places = ", :place_times::timestamptz[], :place_numbers::bigint[]"
        columns = ", place_at, place_no"
    return f"""
        ready AS MATERIALIZED (
            SELECT u.*, (:lanes::integer[])[kind] AS lane, (:step_names::text[])[kind] AS step_name,
                (:timeouts::float8[])[kind] AS timeout_seconds,
                (:corrections::integer[])[kind] AS correction
            FROM unnest(:ready_runs::text::bigint[], :ready_steps::text::integer[],
                :attempts::text::integer[], :counted::text::integer[],
                :backoff_bases::text::integer[], :max_attempts::text::integer[],
                :delays::text::float8[], :rule_keys::text::bigint[], :kinds::text::integer[],
                :lessees::text::integer[], :after::text::bigint[]{places})
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                delay, rule_key, kind, lessee, after{columns}, n)
            WHERE {only_if}
        ), {enqueued(keeps_places=keeps_places)}
    """


_IS_STILL = ":epoch = (SELECT epoch FROM now)"
_ENQUEUE, _ENQUEUE_WITH_STEPS, _ENQUEUE_IN_PLACE = (
    Statement(
        f"""
        WITH now AS MATERIALIZED (SELECT {PATIENT_EPOCH} AS epoch),
        {steps}
        {enqueue_parts(_IS_STILL, keeps_places=keeps_places)}
        SELECT epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        locks=("pause lock, shared",),
    )
    for steps, keeps_places in (
        ("", False),
        (f"{rerun_steps(_IS_STILL)},", False),
        ("", True),
    )
)


async def enqueue_ready(tx: Tx, ready: ReadyRows, steps: RerunSteps | None = None) -> Leases | None:
    """Queue, pause or lease ready steps, and return the leases.

    Return None, having done nothing, if the rules have changed since the steps were judged. Inserts
    the ``steps`` of their reruns before, none of which has a place. The caller has locked the runs.
    Takes the pause lock, shared, before it reads the epoch, and waits for it as usual.
    """
    values = ready.arguments() | {"epoch": ready.judgement.epoch}
    statement = _ENQUEUE
    if steps is not None:
        statement = _ENQUEUE_WITH_STEPS
        values |= steps.arguments()
    elif ready.places:
        statement = _ENQUEUE_IN_PLACE
        values |= ready.arguments_of_places()
    rows = await tx.fetch(statement.text, *statement.arguments(**values))
    if rows[0][0] != ready.judgement.epoch:
        return None
    return leases_of(row[1:] for row in rows)


def leases_of(rows: Iterable[Sequence[Any]]) -> Leases:
    """Return the leases that ``leased`` of ``enqueued`` gave; what has no token is none."""
    return {(row[0], row[1]): (row[2], row[3]) for row in rows if row[2] is not None}
