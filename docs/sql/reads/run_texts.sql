-- store/reads/run_texts.py: _sizes (sizes at least)
-- Measure the payload (True) and the result (False) of runs, by run key, in bytes.
-- Locks: nothing.
-- Parameters: run_keys=$1, steps_of=$2, step_nos=$3.
SELECT r.run_key, true AS is_payload, pg_column_size(p.payload) - 4 AS bytes
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT run_key, CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS made_in
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = r.made_in OFFSET 0) p
UNION ALL
SELECT s.run_key, false, sum(pg_column_size(o.result) - 4)
FROM unnest($2::bigint[], $3::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o GROUP BY s.run_key;

-- store/reads/run_texts.py: _sizes (sizes exactly)
-- Measure the payload (True) and the result (False) of runs, by run key, in bytes.
-- Locks: nothing.
-- Parameters: run_keys=$1, steps_of=$2, step_nos=$3.
SELECT r.run_key, true AS is_payload, octet_length(p.payload::text) AS bytes
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT run_key, CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS made_in
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = r.made_in OFFSET 0) p
UNION ALL
SELECT s.run_key, false, sum(octet_length(o.result::text))
FROM unnest($2::bigint[], $3::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, source_run_key FROM zart.steps
    WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
CROSS JOIN LATERAL (
    SELECT result, resolution FROM zart.steps
    WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
    OFFSET 0) o GROUP BY s.run_key;
