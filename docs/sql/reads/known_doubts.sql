-- store/reads/known_doubts.py: read_known_doubts
-- Return the last attempt in doubt of each step of a run that has one, by step number.
-- Locks: nothing.
-- Parameters: told=$1, step_nos=$2, run_key=$3.
SELECT d.step_no, d.attempt, d.ended_as, d.ended_at, d.finding = 'happened' AS happened,
    d.late_status,
    CASE WHEN d.late_status = 'completed' AND d.step_no = ANY($1::integer[])
    AND octet_length(d.late_result::text) <= 4096
    THEN d.late_result::text END AS late_result
FROM unnest($2::integer[]) u(step_no)
CROSS JOIN LATERAL (
    SELECT * FROM zart.in_doubt
    WHERE in_doubt.run_key = $3::bigint AND in_doubt.step_no
        BETWEEN COALESCE(u.step_no, 0) AND COALESCE(u.step_no, 2147483647) OFFSET 0) d
WHERE d.resolved_at IS NULL OR d.finding = 'happened' AND (
    SELECT status FROM zart.steps
    WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no) <> 'completed'
ORDER BY d.step_no, d.resolved_at IS NULL, d.attempt;
