-- store/reads/results.py: run_result
-- Return the exact JSON text of a completed run's result; None if it is too large to send.
-- Locks: nothing.
SELECT step_no, CASE WHEN bytes <= $3 THEN result END AS result FROM (
    SELECT s.step_no, o.result, sum(octet_length(o.result::text)) OVER () AS bytes
    FROM zart.steps s JOIN zart.steps o
    ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
    WHERE s.run_key = $1 AND s.step_no = ANY($2::integer[])) r ORDER BY step_no;
