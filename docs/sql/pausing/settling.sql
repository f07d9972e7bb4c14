-- store/pausing/settling.py: lanes_to_settle
-- Return the lanes that may have tasks which an active rule matches.
-- Locks: nothing.
SELECT r.execution_id, l.lane FROM zart.pause_rules r
LEFT JOIN zart.lanes l ON r.execution_id IS NULL AND
    (r.task_name IS NULL OR r.task_name = l.task_name)
    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
WHERE r.rule_key = $1 AND r.deleted_at IS NULL ORDER BY l.lane;

-- store/pausing/settling.py: settle_lane
-- Look at the next ``limit`` tasks of a lane; move those aside that an active rule matches.
-- Locks: queue, passing over locked rows.
-- Parameters: lane=$1, after=$2, after_no=$3, limit=$4, rule_key=$5.
WITH seen AS MATERIALIZED (
    SELECT t.ctid AS tid, t.not_before, t.queue_no, (r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex) AS matches
    FROM zart.pause_rules r CROSS JOIN zart.lanes l CROSS JOIN LATERAL (
        SELECT ctid, not_before, queue_no, step_name FROM zart.queue
        WHERE queue.lane = $1
            AND (not_before, queue_no) >
            (COALESCE($2, '-infinity'::timestamptz), $3::bigint)
        ORDER BY not_before, queue_no LIMIT $4) t
    WHERE r.rule_key = $5 AND r.deleted_at IS NULL AND l.lane = $1
), picked AS MATERIALIZED (
    SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
        WHERE matches))
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, queue_no, not_before, scheduled_at
), moved AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, queue_no, not_before, scheduled_at, $5 FROM gone
    RETURNING run_key
)
SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved),
    last.not_before, last.queue_no
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT not_before, queue_no FROM seen
    ORDER BY not_before DESC, queue_no DESC LIMIT 1) last ON true;

-- store/pausing/settling.py: settle_execution
-- Move the queued tasks aside that an active rule matches which names their execution.
-- Locks: queue, passing over locked rows.
-- Parameters: rule_key=$1.
WITH seen AS MATERIALIZED (
    SELECT t.tid, true AS matches
    FROM (SELECT * FROM zart.pause_rules WHERE rule_key = $1 OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT l.run_key, e.task_name FROM (
            SELECT execution_key, task_name FROM zart.executions
            WHERE execution_id = r.execution_id OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) l
        WHERE l.status IN ('scheduled', 'running')
    ) u CROSS JOIN LATERAL (
        SELECT ctid AS tid, step_name FROM zart.queue WHERE run_key = u.run_key OFFSET 0) t
    WHERE r.deleted_at IS NULL
        AND (r.task_name IS NULL OR r.task_name = u.task_name)
        AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
), picked AS MATERIALIZED (
    SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
        WHERE matches))
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, queue_no, not_before, scheduled_at
), moved AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, queue_no, not_before, scheduled_at, $1 FROM gone
    RETURNING run_key
)
SELECT (SELECT count(*) FROM seen) - (SELECT count(*) FROM moved);
