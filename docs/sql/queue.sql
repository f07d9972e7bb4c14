-- store/queue.py: lock_queued
-- Lock all queue rows of runs in order, waiting for claims; the caller has locked the runs.
-- Locks: queue.
SELECT FROM zart.queue WHERE run_key = ANY($1::bigint[]) ORDER BY run_key, step_no FOR UPDATE;
