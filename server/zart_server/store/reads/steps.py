"""Reads the steps of a run as callers see them: state, attempts, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from zart_server.domain.model import Step, StepStatus
from zart_server.domain.step_resolution import StepResolution
from zart_server.store.connection import Connection
from zart_server.store.doubt.reading import InDoubt, in_doubt, open_doubts
from zart_server.store.leases import error_from_json
from zart_server.store.pausing.exempting import holds
from zart_server.store.reads.attempts import ended_attempts
from zart_server.store.reads.shown_inputs import inputs_end
from zart_server.store.reads.step_tasks import step_status_of, task_of
from zart_server.store.statement import Statement
from zart_server.store.steps import step_statuses
from zart_server.store.stored_graph import Definition

StepRow: TypeAlias = asyncpg.Record
"""A row that a step is made of."""

# Results are left out past this many bytes together, inputs likewise, and errors are cut.
RESULT_BYTES = 4 * 1024 * 1024
_ATTEMPTS_OF_STEP = 1_000  # that are told, the last ones
_ATTEMPTS_OF_RUN = 10_000  # after which only the last one of each step is told
_REASONS = 500  # of rules that withhold steps of a run

_INPUT = """(SELECT {what} FROM zart.step_inputs i WHERE i.run_key = made_in
    AND i.step_no = {of}.step_no AND i.correction = {of}.correction)"""
_CUT = """json_build_object(
        'type', left(error->>'type', 100), 'message', left(error->>'message', 200))"""
_ATTEMPTS = f"""SELECT json_agg(json_build_object('attempt', attempt, 'status', status,
    'dispatcher_id', dispatcher_id, 'principal', principal, 'reason', reason,
    'started_at', started_at, 'completed_at', completed_at,
    'error', CASE WHEN errors_fit THEN error ELSE {_CUT} END)
    ORDER BY attempt)"""
_TOLD = f"CASE WHEN attempts_fit THEN {_ATTEMPTS_OF_STEP} ELSE 1 END"


def _last_attempts(what: str, run_key: str, step_no: str, most: int | str) -> str:
    return f"""(SELECT {what} FROM zart.attempts
        WHERE attempts.run_key = {run_key} AND attempts.step_no = {step_no}
        ORDER BY attempt DESC LIMIT {most})"""


_LAST_ERRORS = _last_attempts("error", "o.run_key", "o.step_no", _ATTEMPTS_OF_STEP + 1)
_LAST_TOLD = _last_attempts("*", "made_in", "sized.step_no", _TOLD)
_ERRORS_OF_QUEUED = _last_attempts("error", "{of}.run_key", "{of}.step_no", _ATTEMPTS_OF_STEP + 1)
_TOLD_OF_QUEUED = _last_attempts("*", "{of}.run_key", "{of}.step_no", _ATTEMPTS_OF_STEP)
# WITH what it needs, the steps of {{run}}: a query that gives a run_key, the execution_id and
# task_name that rules and dispatchers go by, and the number of the only_step, NULL: all. Each step
# has {{columns}} of its run too; a run without steps has a row. :result_bytes is how many
# bytes of results to give of a run.
STEPS = f"""
    run AS MATERIALIZED ({{run}}), settling AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
    ), found AS (
        SELECT run.*, s.run_key AS steps_of, s.step_no, s.status, o.run_key AS made_in,
            o.attempt, o.max_attempts, o.retryable, o.result, o.error, o.started_at,
            o.completed_at, o.correction, o.dispatcher_id AS done_by, o.principal AS done_as,
            o.resolution, o.reason AS done_for,
            src.run_number AS source_run_number,
            COALESCE(q.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
            q.attempt AS queued_attempt, q.max_attempts AS queued_max, q.not_before,
            q.lease_token, q.dispatcher_id, q.principal, q.started_at AS leased_at,
            q.lease_expires_at,
            h.attempt AS held_attempt, h.max_attempts AS held_max, h.not_before AS held_not_before,
            p.rule_id, p.created_by, p.reason, statement_timestamp() AS now, n.last_asked_at,
            sum(pg_column_size(o.result)) OVER (PARTITION BY s.run_key ORDER BY s.step_no)
                AS stored_bytes,
            ended.attempts AS ended_attempts, ended.error_bytes
        FROM run LEFT JOIN LATERAL (
            SELECT last_asked_at FROM zart.task_names
            WHERE task_names.task_name = run.task_name OFFSET 0) n ON true
        LEFT JOIN LATERAL (
            SELECT * FROM zart.steps WHERE steps.run_key = run.run_key AND step_no  -- for its index
                BETWEEN COALESCE(only_step, 0) AND COALESCE(only_step, {2**31 - 1})
            ORDER BY step_no) s ON true
        LEFT JOIN LATERAL (
            SELECT s.* WHERE s.source_run_key IS NULL
            UNION ALL
            SELECT * FROM zart.steps
            WHERE steps.run_key = s.source_run_key AND steps.step_no = s.step_no OFFSET 0) o ON true
        LEFT JOIN LATERAL (
            SELECT run_number FROM zart.runs WHERE runs.run_key = s.source_run_key OFFSET 0
            ) src ON true
        LEFT JOIN LATERAL (
            SELECT * FROM zart.tasks WHERE s.status = 'open'
                AND tasks.run_key = s.run_key AND tasks.step_no = s.step_no OFFSET 0) q ON true
        LEFT JOIN LATERAL (
            SELECT * FROM zart.held WHERE s.status = 'open'
                AND held.run_key = s.run_key AND held.step_no = s.step_no OFFSET 0) h ON true
        LEFT JOIN LATERAL (
            SELECT CASE
                WHEN q.lease_token IS NOT NULL THEN NULL
                WHEN h.rule_key IS NOT NULL AND {holds("h.rule_key", "run.execution_id")}
                    THEN h.rule_key
                WHEN h.rule_key IS NOT NULL
                    THEN zart.pausing_rule(run.execution_id, run.task_name, h.step_name,
                        s.run_key, s.step_no, h.attempt)
                WHEN q.run_key IS NOT NULL AND (SELECT yes FROM settling)
                    THEN zart.settling_rule(run.execution_id, run.task_name, q.step_name,
                        s.run_key, s.step_no, q.attempt) END AS key
            OFFSET 0) rule ON true
        LEFT JOIN LATERAL (
            SELECT * FROM zart.pause_rules WHERE pause_rules.rule_key = rule.key OFFSET 0) p ON true
        LEFT JOIN LATERAL (
            SELECT count(*) AS attempts, sum(COALESCE(octet_length(error::text), 0)) AS error_bytes
            FROM {_LAST_ERRORS} a) ended ON true
    ), sized AS (
        SELECT *, sum(CASE WHEN stored_bytes <= :result_bytes THEN octet_length(result::text)
                           WHEN result IS NOT NULL THEN :result_bytes + 1 END) OVER w
                AS result_bytes,
            sum(CASE WHEN error_bytes IS NOT NULL  -- the last one is told once more
                     THEN error_bytes + COALESCE(octet_length(error::text), 0) END)
                OVER w <= {RESULT_BYTES} AS errors_fit,
            sum(CASE WHEN correction IS NOT NULL
                     THEN {_INPUT.format(what="octet_length(i.input::text)", of="found")} END)
                OVER w <= {RESULT_BYTES} AS inputs_fit,
            sum(ended_attempts) OVER w <= {_ATTEMPTS_OF_RUN} AS attempts_fit,
            count(rule_id) OVER w <= {_REASONS} AS reasons_fit
        FROM found WINDOW w AS (PARTITION BY steps_of ORDER BY step_no)
    ), steps AS (
        SELECT {{columns}} steps_of, step_no, status, attempt, max_attempts, retryable,
            CASE WHEN errors_fit IS NOT FALSE THEN error WHEN error IS NOT NULL THEN {_CUT} END
                AS error,
            NOT errors_fit AND error_bytes > 0 OR ended_attempts > {_TOLD} AS errors_omitted,
            started_at, completed_at, done_by, done_as, resolution, done_for,
            source_run_number, scheduled_at,
            queued_attempt, queued_max, not_before, lease_token, dispatcher_id, principal,
            leased_at, lease_expires_at, held_attempt, held_max, held_not_before, rule_id,
            CASE WHEN reasons_fit THEN created_by END AS created_by,
            CASE WHEN reasons_fit THEN reason END AS reason, now, last_asked_at,
            result IS NOT NULL AS has_result,
            CASE WHEN result_bytes <= :result_bytes THEN result END AS shown_result, correction,
            CASE WHEN correction IS NOT NULL AND inputs_fit
                 THEN {_INPUT.format(what="i.input", of="sized")} END AS shown_input,
            CASE WHEN error_bytes IS NOT NULL THEN (
                {_ATTEMPTS} FROM {_LAST_TOLD} a
            ) END AS attempts
        FROM sized
    )
"""
# The same of a step that the statement itself has queued, {of}, as of {at}, which no read of it
# sees yet: a row of a run, a step without result or correction, the ``attempt`` that it is queued
# for and its ``max_attempts``. Of one that is not ``is_queued`` it says nothing. Costs a third of a
# read afterwards, and no call.
JUST_QUEUED = f"""
    {{of}}.run_key AS steps_of, {{of}}.step_no, 'open' AS status, {{of}}.attempt - 1 AS attempt,
    {{of}}.max_attempts, false AS retryable, NULL AS error, {{of}}.started_at,
    NULL AS completed_at, NULL AS resolution, NULL AS source_run_number,
    {{at}} AS scheduled_at, {{of}}.attempt AS queued_attempt,
    {{of}}.max_attempts AS queued_max, {{at}} AS not_before, NULL AS lease_token,
    NULL AS dispatcher_id, NULL AS lease_expires_at, NULL AS leased_at, NULL AS held_attempt,
    NULL AS held_max, NULL AS held_not_before, NULL AS rule_id, {{at}} AS now,
    (SELECT last_asked_at FROM zart.task_names
     WHERE task_names.task_name = {{of}}.task_name) AS last_asked_at,
    false AS has_result, NULL AS shown_result, NULL AS correction, NULL AS shown_input,
    CASE WHEN {{of}}.is_queued THEN (
        SELECT sum(octet_length(error::text)) > {RESULT_BYTES} OR count(*) > {_ATTEMPTS_OF_STEP}
        FROM {_ERRORS_OF_QUEUED} a
    ) END AS errors_omitted,
    CASE WHEN {{of}}.is_queued THEN (
        {_ATTEMPTS} FROM (
            SELECT *, sum(COALESCE(octet_length(error::text), 0)) OVER ()
                <= {RESULT_BYTES} AS errors_fit
            FROM {_TOLD_OF_QUEUED} l OFFSET 0
        ) a
    ) END AS attempts
"""
_WANTED = """
    SELECT * FROM unnest(
        :run_keys::bigint[], :execution_ids::text[], :task_names::text[], :step_nos::integer[])
        u(run_key, execution_id, task_name, only_step)
"""
_SOME = Statement(f"WITH {STEPS.format(run=_WANTED, columns='')} SELECT * FROM steps")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Where a run's steps stand: its keys and the names that rules and dispatchers go by."""

    run_key: int
    execution_id: str
    task_name: str
    definition: Definition


async def read_in_doubt(connection: Connection, runs: Iterable[RunIdentity]) -> dict[int, InDoubt]:
    """Read what is in doubt of runs, by key; runs whose steps may all run twice are not asked."""
    keys = [run.run_key for run in runs if run.definition.stops]
    return await open_doubts(connection, keys) if keys else {}


async def read_steps(
    connection: Connection,
    wanted: Sequence[tuple[RunIdentity, int]],
    *,
    result_bytes: int = RESULT_BYTES,
) -> list[Step]:
    """Read steps by run and number, one of each run, with results up to ``result_bytes``."""
    rows = await connection.fetch(
        _SOME.text,
        *_SOME.arguments(
            result_bytes=result_bytes,
            run_keys=[identity.run_key for identity, _ in wanted],
            execution_ids=[identity.execution_id for identity, _ in wanted],
            task_names=[identity.task_name for identity, _ in wanted],
            step_nos=[number for _, number in wanted],
        ),
    )
    found = {row["steps_of"]: row for row in rows}
    keys = [
        (identity.run_key, dep)
        for identity, number in wanted
        if step_status_of(found[identity.run_key]) is StepStatus.PENDING
        for dep in identity.definition.graph.depends_on[number]
    ]
    known: dict[int, dict[int, str]] = {}
    for run_key, step_no, status in await step_statuses(connection, keys) if keys else ():
        known.setdefault(run_key, {})[step_no] = status
    doubts = await read_in_doubt(connection, [identity for identity, _ in wanted])
    return [
        in_doubt(_step(found[p.run_key], p, known.get(p.run_key, {})), n, doubts.get(p.run_key))
        for p, n in wanted
    ]


def queued_step(row: StepRow, identity: RunIdentity) -> Step:
    """Make the step of a row of ``JUST_QUEUED``; none of its attempts is in doubt."""
    return _step(row, identity, {})


def steps_of(
    rows: Sequence[asyncpg.Record], identity: RunIdentity, doubts: InDoubt | None
) -> list[Step]:
    """Make the steps of a whole run, of the rows of ``STEPS``, with as many inputs as are told."""
    known = {row["step_no"]: row["status"] for row in rows}
    end = inputs_end(rows, identity.definition, RESULT_BYTES)
    return [
        in_doubt(_step(row, identity, known, has_room=n < end), n, doubts)
        for n, row in ((row["step_no"], row) for row in rows)
    ]


_RESOLUTIONS = {None: StepResolution.EXECUTED} | {each.value: each for each in StepResolution}


def _step(
    row: asyncpg.Record, identity: RunIdentity, statuses: dict[int, str], *, has_room: bool = True
) -> Step:
    graph = identity.definition.graph
    spec = graph.steps[row["step_no"]]
    task = task_of(row, identity.run_key, identity.task_name, graph, statuses)
    is_open = row["status"] == "open"
    is_completed = task.status is StepStatus.COMPLETED
    attempts = ended_attempts(row)
    if task.running is not None:
        attempts.append(task.running)
    last_error = error_from_json(row["error"])
    if last_error is None and not is_completed:
        last_error = next((a.error for a in reversed(attempts) if a.error is not None), None)
    result, correction = row["shown_result"], row["correction"]
    input_json = None
    if has_room:
        input_json = spec.input_json if correction is None else row["shown_input"]
    has_input = correction is not None or spec.input_json is not None
    return Step(
        step_name=spec.step_name,
        status=task.status,
        depends_on=spec.depends_on,
        handler=spec.handler,
        attempt=task.attempt if is_open else row["attempt"],
        max_attempts=task.max_attempts or row["max_attempts"] or spec.retry_policy.max_attempts,
        input_json=input_json,
        result_json=result,
        result_omitted=result is None and row["has_result"],
        last_error=last_error,
        retryable=row["retryable"],
        task_id=task.task_id,
        not_before=task.not_before,
        lease_owner=task.lease_owner,
        lease_expires_at=task.lease_expires_at,
        paused_by=task.paused_by,
        waiting_on=task.waiting_on,
        preserved_from_run_number=row["source_run_number"],
        scheduled_at=row["scheduled_at"],
        started_at=task.leased_at or row["started_at"],
        completed_at=row["completed_at"],
        attempts=tuple(attempts),
        input_corrections=correction or 0,
        input_omitted=has_input and input_json is None,
        errors_omitted=bool(row["errors_omitted"]),
        resolution=_RESOLUTIONS[row["resolution"]] if is_completed else None,
    )
