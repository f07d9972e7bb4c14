-- store/locked_rows.py: find_locked_runs
-- Return the runs of these leases of which others have locked the lease, the step or a doubt.
-- Locks: leases, passing over locked rows; steps, passing over locked rows; in_doubt, passing over locked rows.
-- Parameters: run_keys=$1, step_nos=$2.
WITH named AS MATERIALIZED (
    SELECT * FROM unnest($1::text::bigint[], $2::text::integer[])
        u(run_key, step_no)
), seen_leases AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.leases x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        OFFSET 0) f
), free_leases AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.leases x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        FOR UPDATE SKIP LOCKED) f
), seen_steps AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.steps x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        OFFSET 0) f
), free_steps AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.steps x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        FOR NO KEY UPDATE SKIP LOCKED) f
), seen_in_doubt AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.in_doubt x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        OFFSET 0) f
), free_in_doubt AS MATERIALIZED (
    SELECT f.* FROM named u CROSS JOIN LATERAL (
        SELECT run_key, step_no FROM zart.in_doubt x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
        FOR NO KEY UPDATE SKIP LOCKED) f
)
SELECT run_key FROM seen_leases
WHERE ((run_key, step_no) IN (SELECT run_key, step_no FROM free_leases)) IS NOT TRUE
UNION
SELECT run_key FROM seen_steps
WHERE ((run_key, step_no) IN (SELECT run_key, step_no FROM free_steps)) IS NOT TRUE
UNION
SELECT run_key FROM seen_in_doubt
WHERE ((run_key, step_no) IN (SELECT run_key, step_no FROM free_in_doubt)) IS NOT TRUE;
