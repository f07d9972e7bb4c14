-- store/reads/results.py: run_result
-- Return the exact JSON text of a completed run's result; None if it is too large to send.
-- Locks: nothing.
WITH RECURSIVE taken AS (
    SELECT 0 AS n, NULL::integer AS step_no, NULL::text AS result, 0::bigint AS bytes
    UNION ALL
    SELECT t.n + 1, s.step_no, made.result, t.bytes + octet_length(made.result)
    FROM taken t CROSS JOIN LATERAL (
        SELECT $1::bigint, ($2::integer[])[t.n + 1]) u(run_key, step_no)
    CROSS JOIN LATERAL (
        SELECT run_key, step_no, source_run_key FROM zart.steps
        WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
    CROSS JOIN LATERAL (
        SELECT result, resolution FROM zart.steps
        WHERE run_key = COALESCE(s.source_run_key, s.run_key) AND step_no = s.step_no
        OFFSET 0) o
    CROSS JOIN LATERAL (SELECT o.result::text AS result OFFSET 0) made
    WHERE t.bytes <= $3 AND t.n < cardinality($2)
)
SELECT step_no, CASE WHEN bytes <= $3 THEN result END AS result
FROM taken WHERE n > 0 ORDER BY n;
