-- store/reads/dead_steps.py: read_dead_steps
-- Return the first dead steps of each run, by run key; runs without one are missing.
-- Locks: nothing.
SELECT u.run_key, dead.* FROM unnest($1::bigint[]) u(run_key)
CROSS JOIN LATERAL (
    SELECT definition_key FROM zart.runs
    WHERE run_key = u.run_key AND dead_steps > 0 OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT a.step_no,
    (SELECT step_names[a.step_no + 1] FROM zart.definitions d
        WHERE d.definition_key = r.definition_key) AS step_name,
        a.error IS NOT NULL AS has_error, left(a.error->>'type', 100) AS type,
        left(a.error->>'message', 500) AS message
    FROM (
        SELECT step_no, attempt, error FROM zart.attempts
        WHERE run_key = u.run_key ORDER BY step_no, attempt OFFSET 0) a
    CROSS JOIN LATERAL (
        SELECT FROM zart.steps s WHERE s.run_key = u.run_key AND s.step_no = a.step_no
            AND s.attempt = a.attempt AND s.status = 'dead' OFFSET 0) s
    ORDER BY a.step_no LIMIT 3) dead;
