-- store/by_hand.py: read_standing
-- Return how steps stand, whose runs and queue rows the caller has locked.
-- Locks: nothing.
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
) h ON true;

-- store/by_hand.py: end_steps (end)
-- End steps as their operator says, whatever task they have, and record the operations.
-- Locks: queue; held; leases; steps, whose runs the caller has locked; dead_steps.
-- Parameters: results=$1, errors=$2, steps=$3, operator=$4, kind=$5.
WITH u AS MATERIALIZED (
    SELECT u.*, ($1::text[])[n]::json AS result, ($2::text[])[n]::json AS error
    FROM json_to_recordset($3::text::json) u(n integer, run_key bigint, step_no integer,
            attempt integer, counted integer, max_attempts integer, scheduled_at timestamptz,
            resolution text, execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            batch_id text, replaced json, made json)
), queued AS (
    DELETE FROM zart.queue q USING u
    WHERE q.run_key = ANY(ARRAY[u.run_key]) AND q.step_no = u.step_no
), held AS (
    DELETE FROM zart.held h USING u
    WHERE h.run_key = ANY(ARRAY[u.run_key]) AND h.step_no = u.step_no
), leased AS (
    DELETE FROM zart.leases l USING u
    WHERE l.run_key = ANY(ARRAY[u.run_key]) AND l.step_no = u.step_no
    RETURNING l.*
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at, reason)
    SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
        lease_token, NULL, started_at, statement_timestamp(), NULL
    FROM leased
    UNION ALL
    SELECT run_key, step_no, attempt, 'failed', true, $4, principal, NULL, error,
        statement_timestamp(), statement_timestamp(), reason
    FROM u WHERE resolution IS NULL
), steps AS (
    UPDATE zart.steps s SET
        status = CASE WHEN u.resolution IS NULL THEN 'dead' ELSE 'completed' END,
        attempt = u.attempt, counted = u.counted, max_attempts = u.max_attempts,
        retryable = false, result = u.result, error = u.error,
        scheduled_at = COALESCE(u.scheduled_at, statement_timestamp()),
        started_at = statement_timestamp(), completed_at = statement_timestamp(),
        lease_token = NULL, dispatcher_id = $4, principal = u.principal,
        resolution = u.resolution,
        reason = CASE WHEN u.resolution IS NOT NULL THEN u.reason END
    FROM u WHERE s.run_key = ANY(ARRAY[u.run_key]) AND s.step_no = u.step_no
), unlisted AS (
    DELETE FROM zart.dead_steps x USING u
    WHERE x.run_key = ANY(ARRAY[u.run_key]) AND x.step_no = u.step_no
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT $5::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM u
)
SELECT run_key, step_name, attempt, dispatcher_id FROM leased;

-- store/by_hand.py: end_steps (end in doubt)
-- End steps as their operator says, whatever task they have, and record the operations.
-- Locks: queue; held; leases; steps, whose runs the caller has locked; dead_steps.
-- Parameters: results=$1, errors=$2, steps=$3, operator=$4, kind=$5, stops=$6.
WITH u AS MATERIALIZED (
    SELECT u.*, ($1::text[])[n]::json AS result, ($2::text[])[n]::json AS error
    FROM json_to_recordset($3::text::json) u(n integer, run_key bigint, step_no integer,
            attempt integer, counted integer, max_attempts integer, scheduled_at timestamptz,
            resolution text, execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            batch_id text, replaced json, made json)
), queued AS (
    DELETE FROM zart.queue q USING u
    WHERE q.run_key = ANY(ARRAY[u.run_key]) AND q.step_no = u.step_no
), held AS (
    DELETE FROM zart.held h USING u
    WHERE h.run_key = ANY(ARRAY[u.run_key]) AND h.step_no = u.step_no
), leased AS (
    DELETE FROM zart.leases l USING u
    WHERE l.run_key = ANY(ARRAY[u.run_key]) AND l.step_no = u.step_no
    RETURNING l.*
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at, reason)
    SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
        lease_token, NULL, started_at, statement_timestamp(), NULL
    FROM leased
    UNION ALL
    SELECT run_key, step_no, attempt, 'failed', true, $4, principal, NULL, error,
        statement_timestamp(), statement_timestamp(), reason
    FROM u WHERE resolution IS NULL
), steps AS (
    UPDATE zart.steps s SET
        status = CASE WHEN u.resolution IS NULL THEN 'dead' ELSE 'completed' END,
        attempt = u.attempt, counted = u.counted, max_attempts = u.max_attempts,
        retryable = false, result = u.result, error = u.error,
        scheduled_at = COALESCE(u.scheduled_at, statement_timestamp()),
        started_at = statement_timestamp(), completed_at = statement_timestamp(),
        lease_token = NULL, dispatcher_id = $4, principal = u.principal,
        resolution = u.resolution,
        reason = CASE WHEN u.resolution IS NOT NULL THEN u.reason END
    FROM u WHERE s.run_key = ANY(ARRAY[u.run_key]) AND s.step_no = u.step_no
), unlisted AS (
    DELETE FROM zart.dead_steps x USING u
    WHERE x.run_key = ANY(ARRAY[u.run_key]) AND x.step_no = u.step_no
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT $5::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM u
) , in_doubt AS (
    INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
    SELECT e.run_key, e.step_no, e.attempt, x.execution_id, r.listed_task, r.run_number,
        e.step_name, e.ended_as, e.swept, e.dispatcher_id, e.principal, e.lease_token,
        e.started_at
    FROM (
        SELECT *, 'abandoned' AS ended_as, true AS swept FROM leased
        WHERE (run_key IN (SELECT unnest($6::bigint[]))) IS TRUE
    ) e
    CROSS JOIN LATERAL (SELECT execution_key, run_number, listed_task FROM zart.runs
        WHERE run_key = e.run_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
        WHERE execution_key = r.execution_key OFFSET 0) x
)
SELECT run_key, step_name, attempt, dispatcher_id FROM leased;

-- store/by_hand.py: mark_runs
-- Have runs, by key, go by the rows of their steps from now on; the caller has locked them.
-- Locks: runs.
UPDATE zart.runs r SET by_hand = true,
    dead_steps = dead_steps - was_dead::integer,
    dead_listed = dead_listed - was_dead::integer,
    status = CASE WHEN u.goes_on AND status = 'failed' THEN 'running' ELSE status END,
    error = CASE WHEN u.goes_on AND status = 'failed' THEN '' ELSE error END,
    completed_at = CASE WHEN u.goes_on AND status = 'failed' THEN NULL
    ELSE completed_at END
FROM unnest($1::bigint[], $2::boolean[], $3::boolean[]) u(key, was_dead, goes_on)
WHERE r.run_key = ANY(ARRAY[u.key]);

-- store/by_hand.py: read_run_statuses
-- Return the status of runs by key.
-- Locks: nothing.
SELECT run_key, status FROM zart.runs WHERE run_key = ANY($1::bigint[]);
