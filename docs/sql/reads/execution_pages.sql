-- store/reads/execution_pages.py: _executions
-- Return the executions of current runs, in the same order.
-- Locks: nothing.
SELECT r.run_key, e.execution_id, e.task_name, r.run_number, r.status, e.created_at
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
    SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT * FROM zart.executions WHERE executions.execution_key = r.execution_key
    OFFSET 0) e
ORDER BY u.n;
