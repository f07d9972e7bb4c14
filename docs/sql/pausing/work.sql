-- store/pausing/work.py: pause_work
-- Return the pause work left: up to 1,000 of each kind, releases first, oldest rules first.
-- Locks: nothing.
SELECT * FROM (
    SELECT rule_key, work, execution_id, of_released, work_no FROM zart.pause_work
    WHERE work = 'release' ORDER BY rule_key LIMIT 1000) releases
UNION ALL
SELECT * FROM (
    SELECT rule_key, work, execution_id, of_released, work_no FROM zart.pause_work
    WHERE work = 'settle' ORDER BY rule_key LIMIT 1000) settles;

-- store/pausing/work.py: end_settling
-- Note that this work is done, unless its rule was deleted meanwhile.
-- Locks: nothing.
DELETE
FROM zart.pause_work
WHERE rule_key = $1
    AND work = 'settle'
    AND execution_id = $2
    AND of_released = $3
    AND ($4::bigint IS NULL OR work_no = $4);

-- store/pausing/work.py: end_releasing
-- Note that this work is done if no paused step is left of it: there will be none again.
-- Locks: pause_work.
-- Parameters: rule_key=$1, execution_id=$2.
DELETE FROM zart.pause_work w WHERE rule_key = $1 AND work = 'release'
    AND execution_id = $2 AND CASE WHEN execution_id = '' THEN (
        SELECT rule_key FROM zart.held h WHERE h.rule_key = w.rule_key
        ORDER BY not_before, queue_no LIMIT 1) IS NULL
    ELSE NOT EXISTS (
        SELECT FROM (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = w.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u CROSS JOIN LATERAL (
            SELECT rule_key FROM zart.held WHERE held.run_key = u.run_key OFFSET 0) h
        WHERE h.rule_key = w.rule_key OFFSET 0) END;

-- store/pausing/work.py: has_rule_to_itself
-- Return whether this is the only transaction that moves steps for a rule; lock that if so.
-- Locks: nothing.
SELECT pg_try_advisory_xact_lock($1, $2);
