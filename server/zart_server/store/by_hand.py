"""Steps that an operator ends: their tasks are gone, their outcome is one like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.by_hand import OPERATOR
from zart_server.domain.model import FencedStep, RunStatus, StepError, StepStatus
from zart_server.domain.operations import OperationKind
from zart_server.domain.step_resolution import StepResolution
from zart_server.store.connection import Connection, Tx
from zart_server.store.doubt.inserting import doubted
from zart_server.store.leases import error_from_json, error_to_json
from zart_server.store.lookups import only
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.statement import Statement

StepKey = tuple[int, int]  # run key and step number


class StandingStep(NamedTuple):
    """A step that is to be ended. ``attempt`` is the last one, 0: none."""

    status: StepStatus
    attempt: int
    counted: int
    max_attempts: int | None
    scheduled_at: datetime | None
    dispatcher_id: str
    error: StepError | None


_READ = """
    SELECT s.run_key, s.step_no, CASE WHEN s.status <> 'open' THEN s.status
            WHEN l.attempt IS NOT NULL THEN 'running' WHEN q.attempt IS NOT NULL THEN 'scheduled'
            WHEN h.attempt IS NOT NULL THEN 'paused' ELSE 'pending' END,
        COALESCE(l.attempt, q.attempt - 1, h.attempt - 1, s.attempt),
        COALESCE(l.counted, q.counted, h.counted, s.counted),
        COALESCE(l.max_attempts, q.max_attempts, h.max_attempts, s.max_attempts),
        COALESCE(l.scheduled_at, q.scheduled_at, h.scheduled_at, s.scheduled_at),
        COALESCE(l.dispatcher_id, ''), s.error
    FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
    CROSS JOIN LATERAL (
        SELECT run_key, step_no, status, attempt, counted, max_attempts, scheduled_at, error
        FROM zart.steps WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
    LEFT JOIN LATERAL (
        SELECT * FROM zart.queue WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0
        ) q ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.leases WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0
        ) l ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.held WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0
        ) h ON true
"""


async def read_standing(
    connection: Connection, steps: Sequence[StepKey]
) -> dict[StepKey, StandingStep]:
    """Return how steps stand, whose runs and queue rows the caller has locked."""
    run_keys, step_nos = zip(*steps, strict=True)
    return {
        (row[0], row[1]): StandingStep(StepStatus(row[2]), *row[3:9])._replace(
            error=error_from_json(row[8])
        )
        for row in await connection.fetch(_READ, run_keys, step_nos)
    }


class StepToEnd(NamedTuple):
    """A step to be ended as ``attempt``: with a result and its resolution, or with an error."""

    run_key: int
    step_no: int
    attempt: int
    before: StandingStep
    operation: NewOperation
    resolution: StepResolution | None = None
    result_json: str | None = None
    error: StepError | None = None


# The attempt that was in flight stays on record by itself, for its token is what is fenced.
def _end(more: str = "") -> str:
    return f"""
    WITH u AS MATERIALIZED (
        SELECT u.*, (:results::text[])[n]::json AS result, (:errors::text[])[n]::json AS error
        FROM json_to_recordset(:steps::text::json) u(n integer, run_key bigint, step_no integer,
            attempt integer, counted integer, max_attempts integer, scheduled_at timestamptz,
            resolution text, {RECORD})
    ), queued AS (
        DELETE FROM zart.queue q USING u
        WHERE q.run_key = {only("u.run_key")} AND q.step_no = u.step_no
    ), held AS (
        DELETE FROM zart.held h USING u
        WHERE h.run_key = {only("u.run_key")} AND h.step_no = u.step_no
    ), leased AS (
        DELETE FROM zart.leases l USING u
        WHERE l.run_key = {only("u.run_key")} AND l.step_no = u.step_no
        RETURNING l.*
    ), attempts AS (
        INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                   principal, lease_token, error, started_at, completed_at, reason)
        SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
               lease_token, NULL, started_at, statement_timestamp(), NULL
        FROM leased
        UNION ALL
        SELECT run_key, step_no, attempt, 'failed', true, :operator, principal, NULL, error,
               statement_timestamp(), statement_timestamp(), reason
        FROM u WHERE resolution IS NULL
    ), steps AS (
        UPDATE zart.steps s SET
            status = CASE WHEN u.resolution IS NULL THEN 'dead' ELSE 'completed' END,
            attempt = u.attempt, counted = u.counted, max_attempts = u.max_attempts,
            retryable = false, result = u.result, error = u.error,
            scheduled_at = COALESCE(u.scheduled_at, statement_timestamp()),
            started_at = statement_timestamp(), completed_at = statement_timestamp(),
            lease_token = NULL, dispatcher_id = :operator, principal = u.principal,
            resolution = u.resolution,
            reason = CASE WHEN u.resolution IS NOT NULL THEN u.reason END
        FROM u WHERE s.run_key = {only("u.run_key")} AND s.step_no = u.step_no
    ), unlisted AS (
        DELETE FROM zart.dead_steps x USING u
        WHERE x.run_key = {only("u.run_key")} AND x.step_no = u.step_no
    ), operations AS ({recorded("u", ":kind")}) {more}
    SELECT run_key, step_name, attempt, dispatcher_id FROM leased
    """


_LOCKS = ("queue", "held", "leases", "steps, whose runs the caller has locked", "dead_steps")
_END = Statement(_end(), locks=_LOCKS)
_FENCED = doubted("""
    SELECT *, 'abandoned' AS ended_as, true AS swept FROM leased
    WHERE (run_key IN (SELECT unnest(:stops::bigint[]))) IS TRUE
""")
# The same for steps of which an attempt is in doubt when it is fenced.
_END_IN_DOUBT = Statement(_end(f", in_doubt AS ({_FENCED})"), locks=_LOCKS)


async def end_steps(
    tx: Tx, kind: OperationKind, steps: Sequence[StepToEnd], stops: Sequence[int] = ()
) -> dict[int, FencedStep]:
    """End steps as their operator says, whatever task they have, and record the operations.

    One step of each run; what is fenced of the runs ``stops``, by key, is in doubt then. Return
    those that were in flight, by run key. The caller has locked the runs and the steps' queue rows.
    """
    values = [
        {
            "n": n,
            "run_key": item.run_key,
            "step_no": item.step_no,
            "attempt": item.attempt,
            "counted": item.before.counted,
            "max_attempts": item.before.max_attempts,
            "scheduled_at": item.before.scheduled_at,
            "resolution": item.resolution,
        }
        | record_of(item.operation)
        for n, item in enumerate(steps, 1)
    ]
    arguments: dict[str, object] = {
        "steps": to_text(values),
        "results": [item.result_json for item in steps],
        "errors": [error_to_json(item.error) for item in steps],
        "operator": OPERATOR,
        "kind": kind.value,
    }
    statement = _END
    if stops:
        statement = _END_IN_DOUBT
        arguments["stops"] = stops
    rows = await tx.fetch(statement.text, *statement.arguments(**arguments))
    return {row[0]: FencedStep(*row[1:]) for row in rows}


class Marked(NamedTuple):
    """What becomes of a run with its step: whether that was dead, and it goes on if it is FAILED.

    What is dead now is counted and listed as whatever dies is.
    """

    was_dead: bool
    goes_on: bool


async def mark_runs(tx: Tx, runs: Mapping[int, Marked]) -> None:
    """Have runs, by key, go by the rows of their steps from now on; the caller has locked them."""
    await tx.execute(
        f"""
        UPDATE zart.runs r SET by_hand = true,
            dead_steps = dead_steps - was_dead::integer,
            dead_listed = dead_listed - was_dead::integer,
            status = CASE WHEN u.goes_on AND status = 'failed' THEN 'running' ELSE status END,
            error = CASE WHEN u.goes_on AND status = 'failed' THEN '' ELSE error END,
            completed_at = CASE WHEN u.goes_on AND status = 'failed' THEN NULL
                                ELSE completed_at END
        FROM unnest($1::bigint[], $2::boolean[], $3::boolean[]) u(key, was_dead, goes_on)
        WHERE r.run_key = {only("u.key")}
        """,
        list(runs),
        [run.was_dead for run in runs.values()],
        [run.goes_on for run in runs.values()],
    )


async def read_run_statuses(
    connection: Connection, run_keys: Sequence[int]
) -> dict[int, RunStatus]:
    """Return the status of runs by key."""
    rows = await connection.fetch(
        "SELECT run_key, status FROM zart.runs WHERE run_key = ANY($1::bigint[])", run_keys
    )
    return {row[0]: RunStatus(row[1]) for row in rows}
