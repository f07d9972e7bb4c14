"""Steps and their ended attempts: what a run row's holder records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from zart_server.domain.model import AttemptStatus, FencedStep, StepError, StepStatus
from zart_server.store.db import Tx
from zart_server.store.queue import LeaseKey


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that ended, and whether the step is final with it.

    ``final`` is COMPLETED or DEAD, None where the step goes back to the queue.
    """

    run_key: int
    step_no: int
    attempt: int
    status: AttemptStatus
    swept: bool
    dispatcher_id: str
    principal: str
    lease_token: int
    error: StepError | None
    scheduled_at: datetime
    started_at: datetime
    counted: int
    max_attempts: int
    final: StepStatus | None
    retryable: bool
    result_json: str | None


@dataclass(frozen=True, slots=True)
class RevivedStep:
    """A dead step that was made ready again, with what stood before."""

    attempt: int
    counted: int
    error: StepError | None
    completed_at: datetime


def error_to_json(error: StepError | None) -> str | None:
    """Give the stored form of an error."""
    return None if error is None else json.dumps(asdict(error), ensure_ascii=False)


def error_from_json(text: str | None) -> StepError | None:
    """Read the stored form of an error."""
    return None if text is None else StepError(**json.loads(text))


async def record_attempts(
    tx: Tx, ended: Sequence[EndedAttempt], opened: dict[tuple[int, int], int]
) -> list[tuple[int, int]]:
    """Record ended attempts, finish their steps and open dependants; give those now ready.

    ``opened`` counts the completed dependencies per dependant (run key, step number). The caller
    holds the run rows; each attempt's queue row was deleted in this transaction.
    """
    rows = await tx.fetch(
        """
        WITH ended AS MATERIALIZED (
            SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[],
                $5::boolean[], $6::text[], $7::bigint[], $8::text[], $9::timestamptz[],
                $10::timestamptz[], $11::integer[], $12::integer[], $13::text[], $14::boolean[],
                $15::text[], $16::text[])
            u(run_key, step_no, attempt, status, swept, dispatcher_id, lease_token, error,
              scheduled_at, started_at, counted, max_attempts, final, retryable, result, principal)
        ), attempts AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, error, started_at, completed_at)
            SELECT run_key, step_no, attempt, status, swept, dispatcher_id, principal, lease_token,
                   error::json, started_at, statement_timestamp() FROM ended
        ), final AS (
            UPDATE zart.steps s SET status = e.final, attempt = e.attempt, counted = e.counted,
                max_attempts = e.max_attempts, retryable = e.retryable, result = e.result::json,
                error = e.error::json, scheduled_at = e.scheduled_at, started_at = e.started_at,
                completed_at = statement_timestamp()
            FROM ended e
            WHERE e.final IS NOT NULL AND s.run_key = e.run_key AND s.step_no = e.step_no
              AND s.status = 'ready'
        )
        UPDATE zart.steps s SET pending_deps = s.pending_deps - o.n,
            status = CASE WHEN s.pending_deps = o.n THEN 'ready' ELSE s.status END
        FROM unnest($17::bigint[], $18::integer[], $19::integer[]) o(run_key, step_no, n)
        WHERE s.run_key = o.run_key AND s.step_no = o.step_no AND s.status = 'pending'
        RETURNING s.run_key, s.step_no, s.status = 'ready' AS is_ready
        """,
        [e.run_key for e in ended],
        [e.step_no for e in ended],
        [e.attempt for e in ended],
        [e.status.value for e in ended],
        [e.swept for e in ended],
        [e.dispatcher_id for e in ended],
        [e.lease_token for e in ended],
        [error_to_json(e.error) for e in ended],
        [e.scheduled_at for e in ended],
        [e.started_at for e in ended],
        [e.counted for e in ended],
        [e.max_attempts for e in ended],
        [e.final.value if e.final else None for e in ended],
        [e.retryable for e in ended],
        [e.result_json for e in ended],
        [e.principal for e in ended],
        [run_key for run_key, _ in opened],
        [step_no for _, step_no in opened],
        list(opened.values()),
    )
    return [(row["run_key"], row["step_no"]) for row in rows if row["is_ready"]]


async def recorded_tokens(tx: Tx, refs: Sequence[LeaseKey]) -> set[LeaseKey]:
    """Tell which leases ended by a report of the principal's own, not by the server."""
    rows = await tx.fetch(
        "SELECT a.run_key, a.step_no, a.lease_token, a.principal FROM zart.attempts a"
        " JOIN unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[]) u(r, s, t, p)"
        " ON a.run_key = r AND a.step_no = s AND a.lease_token = t AND a.principal = p"
        " WHERE NOT a.swept",
        [run_key for run_key, _, _, _ in refs],
        [step_no for _, step_no, _, _ in refs],
        [token for _, _, token, _ in refs],
        [principal for _, _, _, principal in refs],
    )
    return {(row[0], row[1], row[2], row[3]) for row in rows}


async def insert_steps(tx: Tx, runs: Sequence[tuple[int, int]]) -> None:
    """Insert all steps of new runs, given as (run key, definition key), from their graphs."""
    await tx.execute(
        """
        INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
        SELECT u.run_key, c.n - 1, CASE c.deps WHEN 0 THEN 'ready' ELSE 'pending' END, c.deps
        FROM unnest($1::bigint[], $2::bigint[]) u(run_key, definition_key)
        JOIN zart.definitions d USING (definition_key)
        CROSS JOIN LATERAL unnest(d.dep_counts) WITH ORDINALITY c(deps, n)
        """,
        [run_key for run_key, _ in runs],
        [definition_key for _, definition_key in runs],
    )


async def insert_rerun_steps(
    tx: Tx, source_run_key: int, run_key: int, preserved: Sequence[int], rerun: dict[int, int]
) -> None:
    """Insert the steps of a rerun: preserved ones refer to where their result was made.

    ``rerun`` gives, by step number, how many of the dependencies run again too.
    """
    await tx.execute(
        """
        INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
                                counted, max_attempts, scheduled_at, started_at, completed_at)
        SELECT $2, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key), s.attempt,
               s.counted, s.max_attempts, s.scheduled_at, s.started_at, s.completed_at
        FROM zart.steps s WHERE s.run_key = $1 AND s.step_no = ANY($3::integer[])
        """,
        source_run_key,
        run_key,
        preserved,
    )
    await tx.execute(
        "INSERT INTO zart.steps (run_key, step_no, status, pending_deps)"
        " SELECT $1, n, CASE deps WHEN 0 THEN 'ready' ELSE 'pending' END, deps"
        " FROM unnest($2::integer[], $3::integer[]) u(n, deps)",
        run_key,
        list(rerun),
        list(rerun.values()),
    )


async def read_statuses(tx: Tx, run_key: int) -> list[str]:
    """Give the stored status of each step of a run, by step number."""
    rows = await tx.fetch(
        "SELECT status FROM zart.steps WHERE run_key = $1 ORDER BY step_no", run_key
    )
    return [row["status"] for row in rows]


async def revive_step(tx: Tx, run_key: int, step_no: int) -> RevivedStep | None:
    """Make a dead step ready; None where it is not dead. The caller holds the run row."""
    row = await tx.fetchrow(
        """
        WITH dead AS MATERIALIZED (
            SELECT error, completed_at FROM zart.steps
            WHERE run_key = $1 AND step_no = $2 AND status = 'dead'
        )
        UPDATE zart.steps s SET status = 'ready', error = NULL, completed_at = NULL,
            retryable = false
        FROM dead WHERE s.run_key = $1 AND s.step_no = $2 AND s.status = 'dead'
        RETURNING s.attempt, s.counted, dead.error, dead.completed_at
        """,
        run_key,
        step_no,
    )
    if row is None:
        return None
    return RevivedStep(
        row["attempt"], row["counted"], error_from_json(row["error"]), row["completed_at"]
    )


async def fence_steps(tx: Tx, run_key: int) -> list[FencedStep]:
    """End all unfinished steps of a run as cancelled, in-flight attempts as abandoned.

    The caller holds the run row and has locked the run's queue rows, so that what a claim or a
    sweep moved aside meanwhile is seen here. Gives the steps that were in flight.
    """
    rows = await tx.fetch(
        """
        WITH held AS (
            DELETE FROM zart.held WHERE run_key = $1
        ), queued AS (
            DELETE FROM zart.queue WHERE run_key = $1 RETURNING *
        ), abandoned AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, started_at, completed_at)
            SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
                   lease_token, started_at, statement_timestamp()
            FROM queued WHERE lease_token IS NOT NULL
        ), steps AS (
            UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
                attempt = GREATEST(s.attempt, COALESCE((
                    SELECT CASE WHEN q.lease_token IS NULL THEN q.attempt - 1 ELSE q.attempt END
                    FROM queued q WHERE q.step_no = s.step_no), 0))
            WHERE s.run_key = $1 AND s.status IN ('pending', 'ready')
        )
        SELECT step_name, attempt, dispatcher_id FROM queued
        WHERE lease_token IS NOT NULL ORDER BY step_no
        """,
        run_key,
    )
    return [FencedStep(*row) for row in rows]
