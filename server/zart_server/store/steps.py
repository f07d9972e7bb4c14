"""Steps: what the holder of their run row changes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import FencedStep, OperationKind, StepError
from zart_server.store.db import Tx
from zart_server.store.leases import error_from_json
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text


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


async def insert_rerun_steps(
    tx: Tx,
    preserved: Sequence[tuple[int, int, int]],
    rerun: Sequence[tuple[int, int, int]],
) -> None:
    """Insert the steps of reruns: preserved ones refer to where their result was made.

    ``preserved`` gives (run key, source run key, step number), ``rerun`` (run key, step number,
    how many of the dependencies run again too).
    """
    await tx.execute(
        """
        WITH preserved AS (
            INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
                                    counted, max_attempts, scheduled_at, started_at, completed_at)
            SELECT u.run_key, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key),
                   s.attempt, s.counted, s.max_attempts, s.scheduled_at, s.started_at,
                   s.completed_at
            FROM unnest($1::bigint[], $2::bigint[], $3::integer[]) u(run_key, source, step_no)
            JOIN zart.steps s ON s.run_key = u.source AND s.step_no = u.step_no
        )
        INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
        SELECT run_key, step_no, 'open', deps
        FROM unnest($4::bigint[], $5::integer[], $6::integer[]) u(run_key, step_no, deps)
        """,
        *([row[n] for row in preserved] for n in range(3)),
        *([row[n] for row in rerun] for n in range(3)),
    )


async def read_statuses(tx: Tx, run_keys: Sequence[int]) -> dict[int, list[str]]:
    """Give the stored status of each step of runs: by run key, in the order of the steps."""
    rows = await tx.fetch(
        "SELECT run_key, status FROM zart.steps WHERE run_key = ANY($1::bigint[])"
        " ORDER BY run_key, step_no",
        run_keys,
    )
    found: dict[int, list[str]] = {key: [] for key in run_keys}
    for row in rows:
        found[row[0]].append(row[1])
    return found


async def step_statuses(tx: Tx, steps: Sequence[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Give (run key, step number, stored status) of steps by their keys."""
    rows = await tx.fetch(
        "SELECT run_key, step_no, status FROM unnest($1::bigint[], $2::integer[])"
        " u(run_key, step_no) JOIN zart.steps USING (run_key, step_no)",
        [run_key for run_key, _ in steps],
        [step_no for _, step_no in steps],
    )
    return [(row[0], row[1], row[2]) for row in rows]


class DeadStep(NamedTuple):
    """A step to be retried ``budget`` times. ``operation`` lacks its error and its next task."""

    run_key: int
    step_no: int
    budget: int
    operation: NewOperation


async def revive_steps(tx: Tx, steps: Sequence[DeadStep]) -> dict[int, RevivedStep]:
    """Make dead steps open and their runs running, and record it; by run key.

    One of each run. Those that are not dead are left out. The caller holds the run rows.
    """
    rows = await tx.fetch(
        f"""
        WITH dead AS MATERIALIZED (
            SELECT u.*, s.error, s.completed_at
            FROM json_to_recordset($1::text::json)
                u(run_key bigint, step_no integer, budget integer, {RECORD})
            JOIN zart.steps s USING (run_key, step_no) WHERE s.status = 'dead'
        ), revived AS (
            UPDATE zart.steps s SET status = 'open', error = NULL, completed_at = NULL,
                retryable = false
            FROM dead d WHERE s.run_key = d.run_key AND s.step_no = d.step_no AND s.status = 'dead'
            RETURNING s.run_key, s.attempt, s.counted, d.error, d.completed_at
        ), runs AS (
            UPDATE zart.runs r SET dead_steps = dead_steps - 1, status = 'running', error = '',
                completed_at = NULL, started_at = COALESCE(started_at, statement_timestamp())
            FROM revived v WHERE r.run_key = v.run_key
              AND r.status IN ('scheduled', 'running', 'failed')
        ), done AS (
            SELECT d.execution_id, run_number, step_name, rule_id, task_name, triggered_by,
                principal, reason, request_id,
                CASE WHEN v.error IS NULL THEN replaced ELSE (replaced::jsonb
                    || jsonb_build_object('step_error', v.error))::json END AS replaced,
                json_build_object(
                    'task_id', zart.task_id(d.run_key, d.step_no, v.attempt + 1),
                    'max_attempts', v.counted + d.budget) AS made
            FROM revived v JOIN dead d USING (run_key)
        ), operations AS ({recorded("done", "$2")})
        SELECT run_key, attempt, counted, error, completed_at FROM revived
        """,
        to_text(
            [
                {"run_key": item.run_key, "step_no": item.step_no, "budget": item.budget}
                | record_of(item.operation)
                for item in steps
            ]
        ),
        OperationKind.RETRY_STEP.value,
    )
    return {row[0]: RevivedStep(row[1], row[2], error_from_json(row[3]), row[4]) for row in rows}


async def fence_steps(tx: Tx, run_keys: Sequence[int]) -> dict[int, list[FencedStep]]:
    """End all unfinished steps of runs as cancelled, in-flight attempts as abandoned.

    The caller holds the run rows and has locked the runs' queue rows, so that what a claim or a
    sweep moved aside meanwhile is seen here. Gives the steps that were in flight by run key.
    """
    rows = await tx.fetch(
        """
        WITH held AS (
            DELETE FROM zart.held WHERE run_key = ANY($1::bigint[])
        ), queued AS (
            DELETE FROM zart.queue WHERE run_key = ANY($1::bigint[])
            RETURNING run_key, step_no, attempt
        ), leased AS (
            DELETE FROM zart.leases WHERE run_key = ANY($1::bigint[]) RETURNING *
        ), abandoned AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, started_at, completed_at)
            SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
                   lease_token, started_at, statement_timestamp()
            FROM leased
        ), steps AS (
            UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
                attempt = GREATEST(s.attempt, COALESCE((
                    SELECT attempt - 1 FROM queued q
                    WHERE q.run_key = s.run_key AND q.step_no = s.step_no
                    UNION ALL
                    SELECT attempt FROM leased l
                    WHERE l.run_key = s.run_key AND l.step_no = s.step_no), 0))
            WHERE s.run_key = ANY($1::bigint[]) AND s.status = 'open'
        )
        SELECT run_key, step_name, attempt, dispatcher_id FROM leased ORDER BY run_key, step_no
        """,
        run_keys,
    )
    found: dict[int, list[FencedStep]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(FencedStep(*row[1:]))
    return found
