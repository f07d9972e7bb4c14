-- store/breaking/run_names.py: read_run_names
-- Return the names by run key; of a run that is no more there are none.
-- Locks: nothing.
SELECT r.run_key, e.execution_id, r.definition_key
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT run_key, execution_key, definition_key FROM zart.runs
    WHERE run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
    WHERE execution_key = r.execution_key OFFSET 0) e;
