-- store/queue.py: lock_queued
-- Lock all queue rows of runs in order, waiting for claims; the caller has locked the runs.
-- Locks: queue.
WITH locked AS MATERIALIZED (
    SELECT FROM zart.queue WHERE run_key = ANY($1::bigint[]) ORDER BY run_key, step_no
    FOR UPDATE
)
SELECT (SELECT count(*) FROM zart.queue WHERE run_key = ANY($1::bigint[]))
    = (SELECT count(*) FROM locked);

-- store/queue.py: lock_queued_steps
-- Lock the queue rows of steps, as ``lock_queued`` does those of whole runs.
-- Locks: queue.
-- Parameters: run_keys=$1, step_nos=$2.
WITH steps AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
    ORDER BY run_key, step_no
), seen AS MATERIALIZED (
    SELECT u.* FROM steps u CROSS JOIN LATERAL (
        SELECT FROM zart.queue
        WHERE queue.run_key = u.run_key AND queue.step_no = u.step_no OFFSET 0) q
), locked AS MATERIALIZED (
    SELECT u.* FROM steps u CROSS JOIN LATERAL (
        SELECT FROM zart.queue
        WHERE queue.run_key = u.run_key AND queue.step_no = u.step_no FOR UPDATE) q
)
SELECT (SELECT count(*) FROM seen) = (SELECT count(*) FROM locked);
