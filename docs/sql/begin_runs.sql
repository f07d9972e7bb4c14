-- store/begin_runs.py: insert_steps
-- Insert all steps of new runs, given as (run key, definition key), from their graphs.
-- Locks: nothing.
INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
SELECT run_key, c.no - 1, 'open', c.deps
FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[]) new(run_key, definition_key)) new
CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
    WHERE definition_key = new.definition_key OFFSET 0) d
CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no);
