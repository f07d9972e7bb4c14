-- store/steps.py: open_dependants
-- Count completed dependencies off steps that wait for some; return those now ready.
-- Locks: steps.
UPDATE zart.steps s SET pending_deps = s.pending_deps - u.n
FROM unnest($1::bigint[], $2::integer[], $3::integer[]) u(run_key, step_no, n)
WHERE s.run_key = ANY(ARRAY[u.run_key]) AND s.step_no = u.step_no AND s.status = 'open'
RETURNING s.run_key, s.step_no, s.attempt, s.counted, s.max_attempts,
    COALESCE(s.correction, 0), s.pending_deps = 0;

-- store/steps.py: insert_rerun_steps
-- Insert the steps of reruns.
-- Locks: nothing.
-- Parameters: preserved_runs=$1, preserved_sources=$2, preserved_steps=$3, again_runs=$4,
--   again_steps=$5, again_deps=$6, corrected=$7.
WITH preserved AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
            counted, max_attempts, scheduled_at, started_at, completed_at,
            correction)
    SELECT u.run_key, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key),
        s.attempt, s.counted, s.max_attempts, s.scheduled_at, s.started_at,
        s.completed_at, s.correction
    FROM unnest($1::bigint[], $2::bigint[],
            $3::integer[]) u(run_key, source, step_no)
    CROSS JOIN LATERAL (SELECT * FROM zart.steps
        WHERE run_key = u.source AND step_no = u.step_no OFFSET 0) s
    WHERE true
), again AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, correction)
    SELECT run_key, step_no, 'open', deps, CASE WHEN corrected THEN 1 END
    FROM unnest($4::bigint[], $5::integer[], $6::integer[],
            $7::boolean[]) u(run_key, step_no, deps, corrected)
    WHERE true
)
SELECT;

-- store/steps.py: read_states
-- Return what a rerun goes by of all steps of runs, by run key.
-- Locks: nothing.
SELECT run_key, status, step_no, correction, source_run_key
FROM zart.steps
WHERE run_key = ANY($1::bigint[])
ORDER BY run_key, step_no;

-- store/steps.py: step_statuses
-- Return (run key, step number, stored status) of steps by their keys.
-- Locks: nothing.
SELECT s.*
FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (SELECT run_key, step_no, status FROM zart.steps WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s;

-- store/steps.py: fence_steps (fence in doubt)
-- End all unfinished steps of runs as cancelled, in-flight attempts as abandoned.
-- Locks: steps, of runs that the caller has locked; queue; held; leases.
-- Parameters: run_keys=$1, stop_runs=$2, stop_steps=$3.
WITH held AS (
    DELETE FROM zart.held WHERE run_key = ANY($1::bigint[])
    RETURNING run_key, step_no, attempt
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
), tried AS MATERIALIZED (
    SELECT run_key, step_no, attempt - 1 AS attempt FROM queued
    UNION ALL SELECT run_key, step_no, attempt - 1 FROM held
    UNION ALL SELECT run_key, step_no, attempt FROM leased
), tried_steps AS (
    UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
        attempt = GREATEST(s.attempt, t.attempt)
    FROM tried t
    WHERE s.run_key = ANY(ARRAY[t.run_key]) AND s.step_no = t.step_no AND s.status = 'open'
), other_steps AS (
    UPDATE zart.steps SET status = 'cancelled', completed_at = statement_timestamp()
    WHERE run_key = ANY($1::bigint[]) AND status = 'open'
        AND ((run_key, step_no) IN (SELECT run_key, step_no FROM tried)) IS NOT TRUE
) , in_doubt AS (
    INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
    SELECT e.run_key, e.step_no, e.attempt, x.execution_id, r.listed_task, r.run_number,
        e.step_name, e.ended_as, e.swept, e.dispatcher_id, e.principal, e.lease_token,
        e.started_at
    FROM (
        SELECT *, 'abandoned' AS ended_as, true AS swept FROM leased
        WHERE ((run_key, step_no) IN (
            SELECT * FROM unnest($2::bigint[], $3::integer[]))) IS TRUE
    ) e
    CROSS JOIN LATERAL (SELECT execution_key, run_number, listed_task FROM zart.runs
        WHERE run_key = e.run_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
        WHERE execution_key = r.execution_key OFFSET 0) x
)
SELECT run_key, step_name, attempt, dispatcher_id FROM leased ORDER BY run_key, step_no;

-- store/steps.py: fence_steps (fence)
-- End all unfinished steps of runs as cancelled, in-flight attempts as abandoned.
-- Locks: steps, of runs that the caller has locked; queue; held; leases.
-- Parameters: run_keys=$1.
WITH held AS (
    DELETE FROM zart.held WHERE run_key = ANY($1::bigint[])
    RETURNING run_key, step_no, attempt
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
), tried AS MATERIALIZED (
    SELECT run_key, step_no, attempt - 1 AS attempt FROM queued
    UNION ALL SELECT run_key, step_no, attempt - 1 FROM held
    UNION ALL SELECT run_key, step_no, attempt FROM leased
), tried_steps AS (
    UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
        attempt = GREATEST(s.attempt, t.attempt)
    FROM tried t
    WHERE s.run_key = ANY(ARRAY[t.run_key]) AND s.step_no = t.step_no AND s.status = 'open'
), other_steps AS (
    UPDATE zart.steps SET status = 'cancelled', completed_at = statement_timestamp()
    WHERE run_key = ANY($1::bigint[]) AND status = 'open'
        AND ((run_key, step_no) IN (SELECT run_key, step_no FROM tried)) IS NOT TRUE
)
SELECT run_key, step_name, attempt, dispatcher_id FROM leased ORDER BY run_key, step_no;
