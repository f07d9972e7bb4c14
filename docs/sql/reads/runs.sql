-- store/reads/runs.py: list_runs
-- List the runs of an execution by run_number; the page ends early at 8 MiB.
-- Locks: nothing.
SELECT execution_key FROM zart.executions WHERE execution_id = $1;

-- store/reads/runs.py: list_runs
-- List the runs of an execution by run_number; the page ends early at 8 MiB.
-- Locks: nothing.
SELECT r.run_key, r.run_number, r.status, r."trigger", r.triggered_by, r.principal, r.reason, r.definition_key, (SELECT version FROM zart.definitions d  WHERE d.definition_key = r.definition_key OFFSET 0) AS version, r.source_run_number, r.error, r.created_at, r.started_at, r.completed_at, octet_length(r.error) + octet_length(r.reason) + octet_length(r.triggered_by) AS size
FROM zart.runs r
WHERE execution_key = $1
    AND run_number > $2::bigint
ORDER BY run_number LIMIT $3;
