-- store/reads/traces.py: find_traceparent
-- Return the traceparent of an execution; None: it has none, or there is no execution.
-- Locks: nothing.
SELECT r.traceparent FROM zart.executions e
CROSS JOIN LATERAL (
    SELECT traceparent FROM zart.runs WHERE execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1) r
WHERE e.execution_id = $1;
