-- store/retry_step.py: revive_steps
-- Make dead steps ready and their runs RUNNING, and record it; return the keys of the runs.
-- Locks: pause lock, shared; steps, whose runs the caller has locked; dead_steps, likewise; runs, likewise.
-- Parameters: inputs=$1, steps=$2, epoch=$3, kind=$4.
WITH now AS MATERIALIZED (
    SELECT epoch, clock_timestamp() AS at, set_config('lock_timeout', '500', true)
    FROM (SELECT zart.shared_epoch(134558950621186) AS epoch OFFSET 0) shared
), dead AS MATERIALIZED (
    SELECT u.*, s.error, ($1::text[])[n + 1]::json AS input
    FROM json_to_recordset($2::text::json) u(n integer, run_key bigint, step_no integer,
            budget integer, pending_deps integer, rule_key bigint, lane integer,
            timeout_seconds float8, expected integer, execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            batch_id text, replaced json, made json)
    CROSS JOIN LATERAL (SELECT status, attempt, error FROM zart.steps
        WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
    WHERE s.status = 'dead' AND s.attempt = COALESCE(u.expected, s.attempt)
        AND $3 = (SELECT epoch FROM now)
), revived AS (
    UPDATE zart.steps s SET status = 'open', error = NULL, completed_at = NULL,
        retryable = false, pending_deps = d.pending_deps,
        max_attempts = s.counted + d.budget,
        correction = CASE WHEN d.input IS NULL THEN s.correction
        ELSE COALESCE(s.correction, 0) + 1 END
    FROM dead d WHERE s.run_key = ANY(ARRAY[d.run_key]) AND s.step_no = d.step_no
    RETURNING d.*, s.attempt + 1 AS attempt, s.counted, s.max_attempts, s.started_at,
        COALESCE(s.correction, 0) AS correction,
        d.rule_key = 0 AND d.pending_deps = 0 AND s.correction IS NULL AS is_queued
), inputs AS (
    INSERT INTO zart.step_inputs (run_key, step_no, correction, input)
    SELECT run_key, step_no, correction, input FROM revived WHERE input IS NOT NULL
), no_longer AS (
    DELETE FROM zart.dead_steps x USING revived v
    WHERE x.run_key = ANY(ARRAY[v.run_key]) AND x.step_no = v.step_no
), runs AS (
    UPDATE zart.runs r SET dead_steps = dead_steps - 1, dead_listed = dead_listed - 1,
        status = 'running', error = '',
        completed_at = NULL,
        started_at = COALESCE(r.started_at, statement_timestamp())
    FROM revived v WHERE r.run_key = ANY(ARRAY[v.run_key])
        AND r.status || '' IN ('scheduled', 'running', 'failed')
), ready AS MATERIALIZED (
    SELECT *, counted AS backoff_base, 0 AS delay, 0 AS lessee
    FROM revived WHERE pending_deps = 0
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
    (SELECT at FROM now) + delay * interval '1 second', (SELECT at FROM now)
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
    (SELECT at FROM now) + delay * interval '1 second', (SELECT at FROM now), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ('{}'::float8[])[lessee] * interval '1 second',
        ('{}'::float8[])[lessee], ('{}'::text[])[lessee],
        ('{}'::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
), done AS (
    SELECT execution_id, run_number, step_name, rule_id, task_name, triggered_by,
        principal, reason, request_id, incident, batch_id,
        CASE WHEN error IS NULL THEN replaced ELSE (replaced::jsonb
                || jsonb_build_object('step_error', error))::json END AS replaced,
        json_strip_nulls(json_build_object(
                'task_id', CASE WHEN pending_deps = 0
                THEN zart.task_id(run_key, step_no, attempt) END,
                'max_attempts', max_attempts, 'corrected_input_steps',
                CASE WHEN input IS NOT NULL THEN json_build_array(step_name) END)) AS made
    FROM revived
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made, created_at)
    SELECT $4::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made, clock_timestamp()
    FROM done
)
SELECT epoch, is_queued,
    revived.run_key AS steps_of, revived.step_no, 'open' AS status, revived.attempt - 1 AS attempt,
    revived.max_attempts, false AS retryable, NULL AS error, revived.started_at,
    NULL AS completed_at, NULL AS resolution, NULL AS source_run_number,
    now.at AS scheduled_at, revived.attempt AS queued_attempt,
    revived.max_attempts AS queued_max, now.at AS not_before, NULL AS lease_token,
    NULL AS dispatcher_id, NULL AS lease_expires_at, NULL AS leased_at, NULL AS held_attempt,
    NULL AS held_max, NULL AS held_not_before, NULL AS rule_id, now.at AS now,
(SELECT last_asked_at FROM zart.task_names
    WHERE task_names.task_name = revived.task_name) AS last_asked_at,
    false AS has_result, NULL AS shown_result, NULL AS correction, NULL AS shown_input,
    CASE WHEN revived.is_queued THEN (
        SELECT sum(octet_length(error::text)) > 4194304 OR count(*) > 1000
        FROM (SELECT error FROM zart.attempts
            WHERE attempts.run_key = revived.run_key AND attempts.step_no = revived.step_no
            ORDER BY attempt DESC LIMIT 1001) a
    ) END AS errors_omitted,
    CASE WHEN revived.is_queued THEN (
        SELECT json_agg(json_build_object('attempt', attempt, 'status', status,
                'dispatcher_id', dispatcher_id, 'principal', principal, 'reason', reason,
                'started_at', started_at, 'completed_at', completed_at,
                'error', CASE WHEN errors_fit THEN error ELSE json_build_object(
                        'type', left(error->>'type', 100), 'message', left(error->>'message', 200)) END)
            ORDER BY attempt) FROM (
                SELECT *, sum(COALESCE(octet_length(error::text), 0)) OVER ()
                    <= 4194304 AS errors_fit
                FROM (SELECT * FROM zart.attempts
                    WHERE attempts.run_key = revived.run_key AND attempts.step_no = revived.step_no
                    ORDER BY attempt DESC LIMIT 1000) l OFFSET 0
            ) a
    ) END AS attempts
FROM now LEFT JOIN revived ON true;
