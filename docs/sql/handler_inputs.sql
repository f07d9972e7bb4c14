-- store/handler_inputs.py: read_upstream
-- Return results by (run key, step number), reading those that are not at hand.
-- Locks: nothing.
SELECT s.run_key, s.step_no, octet_length(t.result) AS bytes,
    CASE WHEN octet_length(t.result) <= $3 THEN t.result END AS result,
    COALESCE(o.resolution = $4, false) AS is_skipped
FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o
CROSS JOIN LATERAL (SELECT o.result::text AS result OFFSET 0) t;

-- store/handler_inputs.py: read_short
-- Return results by (run key, step number), but long ones and those of skipped steps.
-- Locks: nothing.
SELECT s.run_key, s.step_no, t.result
FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o
CROSS JOIN LATERAL (
    SELECT CASE WHEN pg_column_size(o.result) <= $3 THEN o.result::text END AS result
    OFFSET 0) t
WHERE octet_length(t.result) <= $3 AND o.resolution IS DISTINCT FROM $4;

-- store/handler_inputs.py: read_large
-- Read long texts: payloads of runs, under step number -1, and results of steps.
-- Locks: nothing.
SELECT r.run_key, -1 AS step_no, COALESCE(r.payload, p.payload) AS text
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT run_key, payload, payload_run_key FROM zart.runs
    WHERE run_key = u.run_key OFFSET 0) r
LEFT JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = r.payload_run_key OFFSET 0) p ON true
UNION ALL
SELECT s.run_key, s.step_no, o.result
FROM unnest($2::bigint[], $3::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o;
