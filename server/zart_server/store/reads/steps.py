"""Reads the steps of a run as callers see them: state, attempts, and what each waits for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from zart_server.domain.model import Attempt, AttemptStatus, Step, StepError, StepStatus
from zart_server.domain.waiting import waiting_for_rule, waiting_for_steps, waiting_in_queue
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.leases import error_from_json
from zart_server.store.queue import task_id_of

# Results, and likewise errors, are left out past this many bytes together.
_RESULT_BYTES = 4 * 1024 * 1024

_STEPS = """
    WITH settling AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
    ), found AS (
        SELECT s.step_no, s.status, s.source_run_key, o.attempt, o.max_attempts, o.retryable,
            o.result, o.error, o.started_at, o.completed_at, src.run_number AS source_run_number,
            COALESCE(q.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
            q.attempt AS queued_attempt, q.max_attempts AS queued_max, q.not_before,
            q.lease_token, q.dispatcher_id, q.principal, q.started_at AS leased_at,
            q.lease_expires_at,
            h.attempt AS held_attempt, h.max_attempts AS held_max, h.not_before AS held_not_before,
            p.rule_id, p.created_by, p.reason, statement_timestamp() AS now,
            (SELECT last_asked_at FROM zart.task_names WHERE task_name = $4) AS last_asked_at,
            sum(pg_column_size(o.result)) OVER (ORDER BY s.step_no) AS stored_bytes
        FROM zart.steps s
        JOIN zart.steps o
            ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
        LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
        LEFT JOIN zart.tasks q ON q.run_key = s.run_key AND q.step_no = s.step_no
        LEFT JOIN zart.held h ON h.run_key = s.run_key AND h.step_no = s.step_no
        LEFT JOIN zart.pause_rules hr ON hr.rule_key = h.rule_key
        LEFT JOIN zart.pause_rules p ON p.rule_key = CASE
            WHEN q.lease_token IS NOT NULL THEN NULL
            WHEN h.rule_key IS NOT NULL AND hr.deleted_at IS NULL THEN h.rule_key
            WHEN h.rule_key IS NOT NULL THEN zart.pausing_rule($3, $4, h.step_name)
            WHEN q.run_key IS NOT NULL AND (SELECT yes FROM settling)
                THEN zart.pausing_rule($3, $4, q.step_name) END
        WHERE s.run_key = $1 AND ($2::integer[] IS NULL OR s.step_no = ANY($2::integer[]))
    ), sized AS (
        SELECT *, sum(CASE WHEN stored_bytes <= $5 THEN octet_length(result::text)
                           WHEN result IS NOT NULL THEN $5 + 1 END) OVER (ORDER BY step_no)
            AS result_bytes
        FROM found
    )
    SELECT *, result IS NOT NULL AS has_result,
        CASE WHEN result_bytes <= $5 THEN result END AS shown_result
    FROM sized ORDER BY step_no
"""
_ATTEMPTS = """
    SELECT step_no, attempt, status, dispatcher_id, started_at, completed_at, principal,
        CASE WHEN stored_bytes <= {limit} THEN error
             ELSE json_build_object('type', error->>'type', 'message', left(error->>'message', 200))
             END AS error
    FROM (
        SELECT s.step_no, a.attempt, a.status, a.dispatcher_id, a.started_at, a.completed_at,
            a.principal, a.error,
            COALESCE(sum(pg_column_size(a.error)) OVER (ORDER BY s.step_no, a.attempt), 0)
                AS stored_bytes
        FROM zart.steps s CROSS JOIN LATERAL (
            SELECT attempt, status, dispatcher_id, principal, error, started_at, completed_at
            FROM zart.attempts e
            WHERE e.run_key = COALESCE(s.source_run_key, s.run_key) AND e.step_no = s.step_no
            UNION ALL
            SELECT attempt, status, dispatcher_id, principal, NULL, started_at, completed_at
            FROM zart.steps c
            WHERE c.run_key = COALESCE(s.source_run_key, s.run_key) AND c.step_no = s.step_no
              AND c.status = 'completed'
            OFFSET 0) a  -- apart from the join: else the planner may read all steps there are
        WHERE s.run_key = $1 AND ($2::integer[] IS NULL OR s.step_no = ANY($2::integer[]))
    ) a ORDER BY step_no, attempt
"""
_ALL_ATTEMPTS = _ATTEMPTS.format(limit="$3")
# Of few steps all at once: a round trip costs more than to write and to read JSON.
_WITH_ATTEMPTS = f"""
    SELECT s.*, (
        SELECT json_agg(a ORDER BY a.attempt) FROM ({_ATTEMPTS.format(limit="$6")}) a
        WHERE a.step_no = s.step_no) AS attempts
    FROM ({_STEPS}) s ORDER BY step_no
"""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run's steps stand: its keys and the names that rules and dispatchers go by."""

    run_key: int
    execution_id: str
    task_name: str
    definition: Definition


async def read_steps(
    tx: Tx,
    place: RunPlace,
    step_nos: Sequence[int] | None = None,
    *,
    result_bytes: int = _RESULT_BYTES,
) -> list[Step]:
    """Read steps of a run by step number (None: all), results up to ``result_bytes`` together."""
    of = place.run_key, step_nos, place.execution_id, place.task_name, result_bytes
    if step_nos is None:
        rows = await tx.fetch(_STEPS, *of)
        attempts = await _read_attempts(tx, place.run_key)
    else:
        rows = await tx.fetch(_WITH_ATTEMPTS, *of, _RESULT_BYTES)
        attempts = {row["step_no"]: _attempts(row["attempts"]) for row in rows}
    statuses = await _dependency_statuses(tx, place, rows, step_nos)
    return [_step(row, place, attempts.get(row["step_no"], []), statuses) for row in rows]


def _attempts(text: str | None) -> list[Attempt]:
    """Read attempts that were written as JSON."""
    found = []
    for item in json.loads(text) if text else ():
        error = item["error"]
        found.append(
            Attempt(
                item["attempt"],
                AttemptStatus(item["status"]),
                item["dispatcher_id"],
                None if error is None else StepError(**error),
                datetime.fromisoformat(item["started_at"]),
                datetime.fromisoformat(item["completed_at"]),
                item["principal"],
            )
        )
    return found


async def _read_attempts(tx: Tx, run_key: int) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for row in await tx.fetch(_ALL_ATTEMPTS, run_key, None, _RESULT_BYTES):
        found.setdefault(row["step_no"], []).append(
            Attempt(
                row["attempt"],
                AttemptStatus(row["status"]),
                row["dispatcher_id"],
                error_from_json(row["error"]),
                row["started_at"],
                row["completed_at"],
                row["principal"],
            )
        )
    return found


async def _dependency_statuses(
    tx: Tx, place: RunPlace, rows: Sequence[asyncpg.Record], step_nos: Sequence[int] | None
) -> dict[int, str]:
    """Give the stored statuses that pending steps are explained by."""
    known = {row["step_no"]: row["status"] for row in rows}
    graph = place.definition.graph
    missing = {
        dep
        for row in rows
        if _status(row) is StepStatus.PENDING
        for dep in graph.depends_on[row["step_no"]]
        if dep not in known
    }
    if step_nos is not None and missing:
        for row in await tx.fetch(
            "SELECT step_no, status FROM zart.steps WHERE run_key = $1 AND step_no = ANY($2)",
            place.run_key,
            sorted(missing),
        ):
            known[row["step_no"]] = row["status"]
    return known


def _status(row: asyncpg.Record) -> StepStatus:
    if row["status"] != "open":
        return StepStatus(row["status"])
    if row["lease_token"] is not None:
        return StepStatus.RUNNING
    if row["queued_attempt"] is None and row["held_attempt"] is None:
        return StepStatus.PENDING
    return StepStatus.SCHEDULED if row["rule_id"] is None else StepStatus.PAUSED


def _step(
    row: asyncpg.Record,
    place: RunPlace,
    attempts: list[Attempt],
    statuses: dict[int, str],
) -> Step:
    number = row["step_no"]
    graph = place.definition.graph
    spec = graph.steps[number]
    status = _status(row)
    not_before = row["not_before"] or row["held_not_before"]
    waiting = ""
    if status is StepStatus.PENDING:
        waiting = waiting_for_steps(
            [
                graph.steps[dep].step_name
                for dep in graph.depends_on[number]
                if statuses.get(dep) != "completed"
            ]
        )
    elif status is StepStatus.PAUSED:
        waiting = waiting_for_rule(row["rule_id"], row["created_by"], row["reason"])
    elif status is StepStatus.SCHEDULED:
        waiting = waiting_in_queue(place.task_name, not_before, row["now"], row["last_asked_at"])
    is_leased = status is StepStatus.RUNNING
    attempt = row["attempt"]
    if row["queued_attempt"] is not None:
        attempt = row["queued_attempt"] - (not is_leased)
    elif row["held_attempt"] is not None:
        attempt = row["held_attempt"] - 1
    if is_leased:
        attempts = [
            *attempts,
            Attempt(
                attempt,
                AttemptStatus.RUNNING,
                row["dispatcher_id"],
                None,
                row["leased_at"],
                None,
                row["principal"],
            ),
        ]
    last_error = error_from_json(row["error"])
    if last_error is None and status is not StepStatus.COMPLETED:
        last_error = next((a.error for a in reversed(attempts) if a.error is not None), None)
    is_queued = status in (StepStatus.SCHEDULED, StepStatus.RUNNING) and row["queued_attempt"]
    return Step(
        step_name=spec.step_name,
        status=status,
        depends_on=spec.depends_on,
        handler=spec.handler,
        attempt=attempt,
        max_attempts=row["queued_max"]
        or row["held_max"]
        or row["max_attempts"]
        or spec.retry_policy.max_attempts,
        input_json=spec.input_json,
        result_json=row["shown_result"],
        result_omitted=row["has_result"] and row["shown_result"] is None,
        last_error=last_error,
        retryable=row["retryable"],
        task_id=task_id_of(place.run_key, number, row["queued_attempt"]) if is_queued else "",
        not_before=not_before,
        lease_owner=row["dispatcher_id"] or "",
        lease_expires_at=row["lease_expires_at"],
        paused_by=row["rule_id"] or "",
        waiting_on=waiting,
        preserved_from_run_number=row["source_run_number"],
        scheduled_at=row["scheduled_at"],
        started_at=row["leased_at"] or row["started_at"],
        completed_at=row["completed_at"],
        attempts=tuple(attempts),
    )
