-- store/doubt/earlier.py: read_found_since (lock)
-- Read attempts of earlier runs that were found to have happened since these were created.
-- Locks: in_doubt.
-- Parameters: execution_keys=$1, run_numbers=$2.
SELECT run_key FROM zart.in_doubt WHERE run_key = ANY(ARRAY(
    SELECT e.run_key
    FROM unnest($1::bigint[], $2::integer[])
        u(execution_key, run_number)
    CROSS JOIN LATERAL (
        SELECT run_key FROM zart.runs WHERE runs.execution_key = u.execution_key
            AND runs.run_number < u.run_number OFFSET 0) e))
    AND (resolved_at IS NULL OR finding = 'happened')
ORDER BY run_key, step_no, attempt FOR NO KEY UPDATE;

-- store/doubt/earlier.py: read_found_since (read)
-- Read attempts of earlier runs that were found to have happened since these were created.
-- Locks: nothing.
-- Parameters: run_keys=$1.
SELECT i.run_key, f.step_no, f.attempt, f.ended_as, f.resolved_at, f.run_number
FROM unnest($1::bigint[]) u(run_key)
CROSS JOIN LATERAL (
    SELECT run_key, execution_key, run_number, definition_key FROM zart.runs
    WHERE runs.run_key = u.run_key OFFSET 0) i
CROSS JOIN LATERAL (
    SELECT n.step_no, d.attempt, d.ended_as, d.ended_at, d.resolved_at, d.run_number,
        d.late_status, d.late_result
    FROM (
        SELECT run_key FROM zart.runs WHERE i.run_number > 0
            AND runs.execution_key = i.execution_key AND runs.run_number < i.run_number
        OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt WHERE in_doubt.run_key = e.run_key OFFSET 0) d
    CROSS JOIN LATERAL (
        SELECT created_at < d.resolved_at AS is_news FROM zart.runs
        WHERE runs.run_key = i.run_key OFFSET 0) c
    CROSS JOIN LATERAL (
        SELECT array_position(step_names, d.step_name) - 1 AS step_no FROM zart.definitions
        WHERE definitions.definition_key = i.definition_key OFFSET 0) n
    CROSS JOIN LATERAL (
        SELECT status FROM zart.steps
        WHERE steps.run_key = i.run_key AND steps.step_no = n.step_no OFFSET 0) s
    WHERE d.finding = 'happened' AND c.is_news AND s.status <> 'completed'
) f;
