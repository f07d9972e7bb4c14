"""Steps: what the holder of their run row changes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from zart_server.domain.model import FencedStep, StepError
from zart_server.store.db import Tx
from zart_server.store.leases import error_from_json


@dataclass(frozen=True, slots=True)
class RevivedStep:
    """A dead step that was made ready again, with what stood before."""

    attempt: int
    counted: int
    error: StepError | None
    completed_at: datetime


async def open_dependants(
    tx: Tx, completed: Mapping[tuple[int, int], int]
) -> list[tuple[int, int]]:
    """Count completed dependencies off steps that wait for several; give those now ready.

    ``completed`` counts them by (run key, step number). The caller holds the run rows.
    """
    rows = await tx.fetch(
        """
        UPDATE zart.steps s SET pending_deps = s.pending_deps - u.n
        FROM unnest($1::bigint[], $2::integer[], $3::integer[]) u(run_key, step_no, n)
        WHERE s.run_key = u.run_key AND s.step_no = u.step_no AND s.status = 'open'
        RETURNING s.run_key, s.step_no, s.pending_deps = 0
        """,
        [run_key for run_key, _ in completed],
        [step_no for _, step_no in completed],
        list(completed.values()),
    )
    return [(row[0], row[1]) for row in rows if row[2]]


async def insert_steps(tx: Tx, runs: Sequence[tuple[int, int]]) -> None:
    """Insert all steps of new runs, given as (run key, definition key), from their graphs."""
    await tx.execute(
        """
        INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
        SELECT u.run_key, c.n - 1, 'open', c.deps
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
        " SELECT $1, n, 'open', deps FROM unnest($2::integer[], $3::integer[]) u(n, deps)",
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
    """Make a dead step open; None where it is not dead. The caller holds the run row."""
    row = await tx.fetchrow(
        """
        WITH dead AS MATERIALIZED (
            SELECT error, completed_at FROM zart.steps
            WHERE run_key = $1 AND step_no = $2 AND status = 'dead'
        )
        UPDATE zart.steps s SET status = 'open', error = NULL, completed_at = NULL,
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
            DELETE FROM zart.queue WHERE run_key = $1 RETURNING step_no, attempt
        ), leased AS (
            DELETE FROM zart.leases WHERE run_key = $1 RETURNING *
        ), abandoned AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, started_at, completed_at)
            SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
                   lease_token, started_at, statement_timestamp()
            FROM leased
        ), steps AS (
            UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
                attempt = GREATEST(s.attempt, COALESCE((
                    SELECT attempt - 1 FROM queued q WHERE q.step_no = s.step_no
                    UNION ALL
                    SELECT attempt FROM leased l WHERE l.step_no = s.step_no), 0))
            WHERE s.run_key = $1 AND s.status = 'open'
        )
        SELECT step_name, attempt, dispatcher_id FROM leased ORDER BY step_no
        """,
        run_key,
    )
    return [FencedStep(*row) for row in rows]
