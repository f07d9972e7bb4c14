"""The statement by which the steps of runs are read: state, attempts, and what withholds each."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

from zart_server.domain.graph import MAX_STEPS
from zart_server.store.pausing.exempting import holds

StepRow: TypeAlias = asyncpg.Record
"""A row that a step is made of."""

# Results are left out past this many bytes together, inputs likewise, and errors are cut.
RESULT_BYTES = 4 * 1024 * 1024
_ATTEMPTS_OF_STEP = 1_000  # that are told, the last ones
_ATTEMPTS_OF_RUN = 10_000  # after which only the last one of each step is told
# By their numbers, of which the last one of each step may be that of an attempt which has not
# ended, or which its row tells of: past so many the run has more, and they are not counted.
_NUMBERED = _ATTEMPTS_OF_RUN + MAX_STEPS
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


_COUNTED = f"CASE WHEN numbered_attempts <= {_NUMBERED} THEN {_ATTEMPTS_OF_STEP} ELSE 1 END + 1"
_LAST_COUNTED = _last_attempts("error", "made_in", "found.step_no", _COUNTED)
_ERRORS_TOLD = _last_attempts("error", "made_in", "counted.step_no", _TOLD)
_LAST_TOLD = _last_attempts("*", "made_in", "sized.step_no", _TOLD)
_ERRORS_OF_QUEUED = _last_attempts("error", "{of}.run_key", "{of}.step_no", _ATTEMPTS_OF_STEP + 1)
_TOLD_OF_QUEUED = _last_attempts("*", "{of}.run_key", "{of}.step_no", _ATTEMPTS_OF_STEP)
# WITH what it needs, the steps of {{run}}: a query that gives a run_key, the execution_id and
# task_name that rules and dispatchers go by, and the number of the only_step, NULL: all. Each step
# has {{columns}} of its run too; a run without steps has a row. :result_bytes is how many
# bytes of results to give of a run.
# What has no room is not unpacked to be measured: where it is stored it takes no more than as text.
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
            sum(least(COALESCE(q.attempt, h.attempt, o.attempt), {_ATTEMPTS_OF_STEP}))
                OVER (PARTITION BY s.run_key ORDER BY s.step_no) AS numbered_attempts
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
    ), counted AS (
        SELECT found.*, ended.attempts AS ended_attempts, ended.stored_errors,
            numbered_attempts <= {_NUMBERED} AND sum(ended.attempts) OVER w <= {_ATTEMPTS_OF_RUN}
                AS attempts_fit,
            sum(ended.stored_errors + COALESCE(pg_column_size(error) - 4, 0)) OVER w
                <= {RESULT_BYTES} AS may_errors_fit
        FROM found LEFT JOIN LATERAL (
            SELECT count(*) AS attempts,
                sum(COALESCE(pg_column_size(error) - 4, 0)) AS stored_errors
            FROM {_LAST_COUNTED} a) ended ON true
        WINDOW w AS (PARTITION BY steps_of ORDER BY step_no)
    ), sized AS (
        SELECT *, sum(CASE WHEN stored_bytes <= :result_bytes THEN octet_length(result::text)
                           WHEN result IS NOT NULL THEN :result_bytes + 1 END) OVER w
                AS result_bytes,
            sum(CASE WHEN stored_errors IS NULL THEN NULL
                     WHEN may_errors_fit  -- the last one is told once more
                     THEN (SELECT sum(COALESCE(octet_length(error::text), 0)) FROM {_ERRORS_TOLD} a)
                        + COALESCE(octet_length(error::text), 0)
                     ELSE {RESULT_BYTES} + 1 END)
                OVER w <= {RESULT_BYTES} AS errors_fit,
            sum(CASE WHEN correction IS NOT NULL
                     THEN {_INPUT.format(what="octet_length(i.input::text)", of="counted")} END)
                OVER w <= {RESULT_BYTES} AS inputs_fit,
            count(rule_id) OVER w <= {_REASONS} AS reasons_fit
        FROM counted WINDOW w AS (PARTITION BY steps_of ORDER BY step_no)
    ), steps AS (
        SELECT {{columns}} steps_of, step_no, status, attempt, max_attempts, retryable,
            CASE WHEN errors_fit IS NOT FALSE THEN error WHEN error IS NOT NULL THEN {_CUT} END
                AS error,
            NOT errors_fit AND stored_errors > 0 OR ended_attempts > {_TOLD} AS errors_omitted,
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
            CASE WHEN stored_errors IS NOT NULL THEN (
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
