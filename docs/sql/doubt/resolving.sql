-- store/doubt/resolving.py: resolve
-- Resolve an attempt and record the operation; None, having done nothing: it is not in doubt.
-- Locks: in_doubt.
-- Parameters: run_key=$1, step_no=$2, attempt=$3, kind=$4, records=$5, finding=$6.
WITH doubt AS MATERIALIZED (
    SELECT
    FROM zart.in_doubt
    WHERE run_key = $1::bigint
        AND step_no = $2::integer
        AND attempt = $3::integer
        AND resolved_by IS NULL FOR NO KEY UPDATE
), operation AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT $4::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM json_to_recordset($5::text::json) u(execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            batch_id text, replaced json, made json) WHERE EXISTS (SELECT FROM doubt)
    RETURNING operation_key, reason)
UPDATE zart.in_doubt d SET resolved_at = clock_timestamp(), finding = $6::text,
    resolved_by = o.operation_key, reason = o.reason
FROM operation o
WHERE d.run_key = ANY(ARRAY[$1]) AND d.step_no = $2 AND d.attempt = $3
RETURNING d.execution_id, d.run_number, d.step_name, d.attempt, d.task_name, d.ended_as, d.dispatcher_id, d.started_at, d.ended_at, d.finding, d.resolved_at, d.resolved_by, d.reason, d.late_status, d.late_result, d.late_error, d.late_received_at, d.late_omitted;

-- store/doubt/resolving.py: run_in_doubt
-- Return the run of an attempt: its keys, NULL if there is none.
-- Locks: nothing.
SELECT r.run_key, r.definition_key, e.task_name
FROM (SELECT * FROM zart.executions WHERE execution_id = $1 OFFSET 0) e
LEFT JOIN LATERAL (
    SELECT run_key, definition_key FROM zart.runs
    WHERE runs.execution_key = e.execution_key AND runs.run_number = $2 OFFSET 0) r ON true;

-- store/doubt/resolving.py: how_it_stands
-- Return how an attempt stands; None: there is none.
-- Locks: nothing.
SELECT a.status, CASE WHEN d.resolved_at IS NOT NULL THEN COALESCE(d.finding, '') END,
    COALESCE((SELECT triggered_by FROM zart.operations
        WHERE operation_key = d.resolved_by), ''), d.resolved_at
FROM (SELECT * FROM zart.all_attempts
    WHERE run_key = $1 AND step_no = $2 AND attempt = $3) a
LEFT JOIN LATERAL (
    SELECT * FROM zart.in_doubt
    WHERE in_doubt.run_key = $1 AND in_doubt.step_no = $2 AND in_doubt.attempt = $3
    OFFSET 0) d ON true;

-- store/doubt/resolving.py: resolve_by_operation
-- Resolve what is in doubt of steps, by the operation on each that was recorded just now.
-- Locks: in_doubt.
UPDATE zart.in_doubt d SET resolved_at = statement_timestamp(),
    resolved_by = o.operation_key, reason = o.reason
FROM unnest($1::bigint[], $2::integer[], $3::text[]) u(run_key, step_no, execution_id)
CROSS JOIN LATERAL (
    SELECT operation_key, reason FROM zart.operations
    WHERE operations.execution_id = u.execution_id AND kind = $4
    ORDER BY operation_key DESC LIMIT 1) o
WHERE d.run_key = ANY(ARRAY[u.run_key]) AND d.step_no = u.step_no AND d.resolved_by IS NULL;
