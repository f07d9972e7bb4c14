-- store/handler_inputs.py: read_upstream
-- Return results by (run key, step number), reading those that are not at hand.
-- Locks: nothing.
-- Parameters: at_once=$1, skipped=$2, run_keys=$3, step_nos=$4, most=$5.
SELECT s.run_key, s.step_no,
    CASE WHEN octet_length(t.result) <= $1 THEN t.result END AS result,
    COALESCE(octet_length(t.result), pg_column_size(o.result), 0) AS bytes,
    COALESCE(o.resolution = $2, false) AS is_skipped,
    t.result IS NOT NULL OR pg_column_compression(o.result) IS NULL AS is_measured
FROM unnest($3::bigint[], $4::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o
CROSS JOIN LATERAL (
    SELECT CASE WHEN CASE WHEN pg_column_compression(o.result) IS NULL
        THEN pg_column_size(o.result) <= $1::integer + 4  -- its head
        ELSE least(255 * pg_column_size(o.result), 1048576) <= $5::integer END
        THEN o.result::text END AS result
    OFFSET 0) t;

-- store/handler_inputs.py: measure
-- Measure results one by one, in this order, until they have more than ``most`` bytes.
-- Locks: nothing.
-- Parameters: at_once=$1, skipped=$2, run_keys=$3, step_nos=$4, most=$5.
WITH RECURSIVE measured AS (
    SELECT 0 AS n, 0::bigint AS total, NULL::bigint AS run_key, NULL::integer AS step_no,
        NULL::text AS result, 0 AS bytes, false AS is_skipped
    UNION ALL
    SELECT m.n + 1, m.total + t.bytes, s.run_key, s.step_no,
        CASE WHEN t.bytes <= $1 THEN t.result END, t.bytes,
        COALESCE(o.resolution = $2, false)
    FROM measured m CROSS JOIN LATERAL (
        SELECT ($3::bigint[])[m.n + 1], ($4::integer[])[m.n + 1]) u(run_key, step_no)
    CROSS JOIN LATERAL (
        SELECT run_key, step_no, source_run_key FROM zart.steps
        WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
    CROSS JOIN LATERAL (
        SELECT result, resolution FROM zart.steps
        WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
        OFFSET 0) o
    CROSS JOIN LATERAL (
        SELECT result, COALESCE(octet_length(result), 0) AS bytes
        FROM (SELECT o.result::text AS result OFFSET 0) made OFFSET 0) t
    WHERE m.total <= $5 AND m.n < cardinality($3)
)
SELECT run_key, step_no, result, bytes, is_skipped, true AS is_measured
FROM measured WHERE n > 0;

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
