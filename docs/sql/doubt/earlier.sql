-- store/doubt/earlier.py: read_found_since
-- Read attempts of earlier runs that were found to have happened since these were created.
-- Locks: nothing.
-- Parameters: run_keys=$1, step_nos=$2, step_names=$3, told=$4.
WITH earlier AS MATERIALIZED (
    SELECT r.run_key, r.definition_key, r.created_at, e.run_key AS earlier_key,
        CASE WHEN u.step_name IS NULL OR e.definition_key = r.definition_key THEN u.step_no
        ELSE COALESCE((
            SELECT array_position(step_names, u.step_name) - 1 FROM zart.definitions
            WHERE definitions.definition_key = e.definition_key AND (
                SELECT true FROM zart.in_doubt WHERE in_doubt.run_key = e.run_key
                LIMIT 1)), -1) END AS step_no
    FROM unnest($1::bigint[], $2::integer[], $3::text[])
        u(run_key, step_no, step_name)
    CROSS JOIN LATERAL (
        SELECT run_key, execution_key, run_number, definition_key, created_at FROM zart.runs
        WHERE runs.run_key = u.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT run_key, definition_key FROM zart.runs WHERE r.run_number > 0
            AND runs.execution_key = r.execution_key AND runs.run_number < r.run_number
        OFFSET 0) e
    ORDER BY earlier_key
)
SELECT e.run_key, e.definition_key, d.step_name, d.attempt, d.ended_as, d.ended_at,
    d.resolved_at, d.run_number, d.late_status,
    CASE WHEN d.late_status = 'completed' AND d.step_name = ANY($4::text[])
    AND octet_length(d.late_result::text) <= 4096
    THEN d.late_result::text END AS late_result
FROM earlier e
CROSS JOIN LATERAL (
    SELECT * FROM zart.in_doubt
    WHERE in_doubt.run_key = e.earlier_key AND in_doubt.step_no
        BETWEEN COALESCE(e.step_no, 0)
        AND COALESCE(e.step_no, 2147483647)
        AND in_doubt.finding = 'happened' OFFSET 0) d
WHERE d.finding = 'happened' AND d.resolved_at > e.created_at;

-- store/doubt/earlier.py: lock_found_since
-- Read what ``read_found_since`` does, having locked that and what of it is in doubt, in order.
-- Locks: in_doubt.
-- Parameters: run_keys=$1, step_nos=$2, step_names=$3, told=$4.
WITH earlier AS MATERIALIZED (
    SELECT r.run_key, r.definition_key, r.created_at, e.run_key AS earlier_key,
        CASE WHEN u.step_name IS NULL OR e.definition_key = r.definition_key THEN u.step_no
        ELSE COALESCE((
            SELECT array_position(step_names, u.step_name) - 1 FROM zart.definitions
            WHERE definitions.definition_key = e.definition_key AND (
                SELECT true FROM zart.in_doubt WHERE in_doubt.run_key = e.run_key
                LIMIT 1)), -1) END AS step_no
    FROM unnest($1::bigint[], $2::integer[], $3::text[])
        u(run_key, step_no, step_name)
    CROSS JOIN LATERAL (
        SELECT run_key, execution_key, run_number, definition_key, created_at FROM zart.runs
        WHERE runs.run_key = u.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT run_key, definition_key FROM zart.runs WHERE r.run_number > 0
            AND runs.execution_key = r.execution_key AND runs.run_number < r.run_number
        OFFSET 0) e
    ORDER BY earlier_key
)
SELECT e.run_key, e.definition_key, d.step_name, d.attempt, d.ended_as, d.ended_at,
    d.resolved_at, d.run_number, d.late_status,
    CASE WHEN d.late_status = 'completed' AND d.step_name = ANY($4::text[])
    AND octet_length(d.late_result::text) <= 4096
    THEN d.late_result::text END AS late_result
FROM earlier e
CROSS JOIN LATERAL (
    SELECT * FROM zart.in_doubt
    WHERE in_doubt.run_key = e.earlier_key AND in_doubt.step_no
        BETWEEN COALESCE(e.step_no, 0)
        AND COALESCE(e.step_no, 2147483647)
        AND (in_doubt.resolved_at IS NULL OR in_doubt.finding = 'happened')
    ORDER BY in_doubt.step_no, in_doubt.attempt OFFSET 0 FOR NO KEY UPDATE) d
WHERE d.finding = 'happened' AND d.resolved_at > e.created_at;
