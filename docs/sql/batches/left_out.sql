-- store/batches/left_out.py: find_without_item
-- Return those of the runs of which the batch has no item, now that these are written.
-- Locks: nothing.
-- Parameters: run_keys=$1, batch_key=$2.
SELECT e.execution_id, r.run_key, r.run_number, c.run_number, r.status, r.dead_steps > 0
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n)
CROSS JOIN LATERAL (
    SELECT execution_key, run_key, run_number, status, dead_steps
    FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT execution_id FROM zart.executions
    WHERE executions.execution_key = r.execution_key OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT run_number FROM zart.runs
    WHERE runs.execution_key = r.execution_key ORDER BY run_number DESC LIMIT 1) c
WHERE NOT EXISTS (
    SELECT FROM zart.batch_items WHERE batch_key = $2::bigint
        AND batch_items.execution_key = r.execution_key OFFSET 0)
ORDER BY u.n;

-- store/batches/left_out.py: find_without_dead
-- Return those of the runs of which no step has been dead since then.
-- Locks: nothing.
-- Parameters: run_keys=$1, as_of=$2.
SELECT e.execution_id, r.run_key, r.run_number, c.run_number, r.status, r.dead_steps > 0
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n)
CROSS JOIN LATERAL (
    SELECT execution_key, run_key, run_number, status, dead_steps
    FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT execution_id FROM zart.executions
    WHERE executions.execution_key = r.execution_key OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT run_number FROM zart.runs
    WHERE runs.execution_key = r.execution_key ORDER BY run_number DESC LIMIT 1) c
WHERE NOT EXISTS (
    SELECT FROM zart.steps WHERE steps.run_key = r.run_key AND steps.status = 'dead'
        AND steps.completed_at <= $2::timestamptz OFFSET 0)
ORDER BY u.n;
