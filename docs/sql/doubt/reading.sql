-- store/doubt/reading.py: lock_doubts
-- Read attempts of unfinished steps that are in doubt or have happened, and lock these rows.
-- Locks: in_doubt.
-- Parameters: run_keys=$1, step_nos=$2.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
    ORDER BY run_key
)
SELECT d.run_key, d.step_no, d.attempt, d.ended_as, d.finding, d.resolved_at FROM asked u
CROSS JOIN LATERAL (
    SELECT * FROM zart.in_doubt WHERE in_doubt.run_key = u.run_key AND in_doubt.step_no
        BETWEEN COALESCE(u.step_no, 0) AND COALESCE(u.step_no, 2147483647)
        AND (in_doubt.resolved_at IS NULL OR in_doubt.finding = 'happened')
    ORDER BY in_doubt.step_no, in_doubt.attempt OFFSET 0 FOR NO KEY UPDATE) d
CROSS JOIN LATERAL (
    SELECT status FROM zart.steps
    WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no OFFSET 0) s
WHERE s.status <> 'completed';

-- store/doubt/reading.py: read_in_flight
-- Read the attempts in flight of steps, by run key and step number.
-- Locks: nothing.
SELECT l.run_key, l.step_no, l.attempt
FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT * FROM zart.leases WHERE leases.run_key = u.run_key
        AND leases.step_no = u.step_no OFFSET 0) l;

-- store/doubt/reading.py: open_doubts
-- Return the attempts that are in doubt now, by run key.
-- Locks: nothing.
-- Parameters: run_keys=$1, step_nos=$2.
SELECT d.run_key, d.step_no, d.attempt
FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
CROSS JOIN LATERAL (
    SELECT * FROM zart.in_doubt
    WHERE in_doubt.run_key = u.run_key AND in_doubt.step_no
        BETWEEN COALESCE(u.step_no, 0) AND COALESCE(u.step_no, 2147483647) OFFSET 0) d
WHERE d.resolved_at IS NULL;
