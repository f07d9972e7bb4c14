-- store/reads/traces.py: find_traceparents
-- Return the traceparents of executions by id, of those that have one.
-- Locks: nothing.
SELECT e.execution_id, r.traceparent FROM unnest($1::text[]) i(execution_id)
CROSS JOIN LATERAL (
    SELECT execution_id, execution_key FROM zart.executions
    WHERE execution_id = i.execution_id OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT traceparent FROM zart.runs WHERE execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1) r
WHERE r.traceparent IS NOT NULL;
