-- store/pausing/settling.py: lanes_to_settle
-- Return the lanes that may have queued tasks which an active rule matches.
-- Locks: nothing.
SELECT r.execution_id, l.lane FROM zart.pause_rules r
LEFT JOIN zart.lanes l ON r.execution_id IS NULL AND
    (r.task_name IS NULL OR r.task_name = l.task_name)
    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
    AND EXISTS (SELECT FROM zart.queue q WHERE q.lane = l.lane OFFSET 0)
WHERE r.rule_key = $1 AND r.deleted_at IS NULL ORDER BY l.lane;

-- store/pausing/settling.py: settle_lane
-- Look at the next ``limit`` tasks of a lane; move those aside that an active rule withholds.
-- Locks: queue, passing over locked rows.
-- Parameters: rule_key=$1, lane=$2, after=$3, after_no=$4, limit=$5.
WITH settling AS MATERIALIZED (
    SELECT r.*, false::boolean AS of_released,
        EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting
    FROM zart.pause_rules r WHERE r.rule_key = $1 AND r.deleted_at IS NULL
), seen AS MATERIALIZED (
    SELECT t.tid, t.not_before, t.queue_no, (r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex)
        AND (
                r.of_released = EXISTS (
                    SELECT FROM zart.released_steps x
                    WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                        AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
                AND NOT (r.is_exempting AND EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = r.rule_key AND x.execution_id = (
                        SELECT execution_id FROM zart.executions WHERE execution_key = (
                            SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                    OFFSET 0))) AS matches
    FROM settling r CROSS JOIN zart.lanes l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, not_before, queue_no, step_name
        FROM zart.queue
        WHERE queue.lane = $2
            AND (not_before, queue_no) >
            (COALESCE($3, '-infinity'::timestamptz), $4::bigint)
        ORDER BY not_before, queue_no LIMIT $5) t
    WHERE l.lane = $2
), picked AS MATERIALIZED (
    SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
        WHERE matches))
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), moved AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, $1 FROM gone
    RETURNING run_key
)
SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved),
    last.not_before, last.queue_no
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT not_before, queue_no FROM seen
    ORDER BY not_before DESC, queue_no DESC LIMIT 1) last ON true;

-- store/pausing/settling.py: settle_execution
-- Move the queued tasks aside that an active rule withholds of one execution.
-- Locks: queue, passing over locked rows.
-- Parameters: rule_key=$1, execution_id=$2.
WITH settling AS MATERIALIZED (
    SELECT r.*, false::boolean AS of_released,
        EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting
    FROM zart.pause_rules r WHERE r.rule_key = $1 AND r.deleted_at IS NULL
), seen AS MATERIALIZED (
    SELECT t.tid, (
            r.of_released = EXISTS (
                SELECT FROM zart.released_steps x
                WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                    AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
            AND NOT (r.is_exempting AND EXISTS (
                SELECT FROM zart.pause_exemptions x
                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                        SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                OFFSET 0))) AS matches
    FROM settling r CROSS JOIN LATERAL (
        SELECT l.run_key, e.task_name FROM (
            SELECT execution_key, task_name FROM zart.executions
            WHERE execution_id = COALESCE($2::text, r.execution_id) OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) l
        WHERE l.status IN ('scheduled', 'running')
    ) u CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, step_name FROM zart.queue
        WHERE run_key = u.run_key OFFSET 0) t
    WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
        AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
), picked AS MATERIALIZED (
    SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
        WHERE matches))
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), moved AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, $1 FROM gone
    RETURNING run_key
)
SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved);

-- store/pausing/settling.py: is_any_queued
-- Return whether a rule took back any of its next ``limit`` released attempts that is queued.
-- Locks: nothing.
-- Parameters: rule_key=$1, run_key=$2, step_no=$3, attempt=$4, limit=$5.
WITH part AS MATERIALIZED (
    SELECT run_key, step_no, attempt, token_until FROM zart.released_steps
    WHERE (rule_key, run_key, step_no, attempt)
        > ($1::bigint, $2::bigint, $3::integer, $4::integer)
        AND (rule_key, run_key, step_no, attempt) < ($1 + 1, 0, 0, 0)
    ORDER BY rule_key, run_key, step_no, attempt LIMIT $5
)
SELECT EXISTS (
    SELECT FROM part p CROSS JOIN LATERAL (
        SELECT attempt FROM zart.queue
        WHERE queue.run_key = p.run_key AND queue.step_no = p.step_no OFFSET 0) t
    WHERE p.token_until IS NOT NULL AND t.attempt = p.attempt OFFSET 0),
    last.run_key, last.step_no, last.attempt
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT run_key, step_no, attempt FROM part
    ORDER BY run_key DESC, step_no DESC, attempt DESC LIMIT 1) last ON true;

-- store/pausing/settling.py: settle_released
-- Move those of a rule's next ``limit`` released attempts aside that it took back, if queued.
-- Locks: queue, passing over locked rows.
-- Parameters: rule_key=$1, run_key=$2, step_no=$3, attempt=$4, limit=$5.
WITH settling AS MATERIALIZED (
    SELECT r.*, true::boolean AS of_released,
        EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting
    FROM zart.pause_rules r WHERE r.rule_key = $1 AND r.deleted_at IS NULL
), part AS MATERIALIZED (
    SELECT run_key, step_no, attempt, token_until FROM zart.released_steps
    WHERE (rule_key, run_key, step_no, attempt)
        > ($1::bigint, $2::bigint, $3::integer, $4::integer)
        AND (rule_key, run_key, step_no, attempt) < ($1 + 1, 0, 0, 0)
    ORDER BY rule_key, run_key, step_no, attempt LIMIT $5
), seen AS MATERIALIZED (
    SELECT t.tid, (
            r.of_released = EXISTS (
                SELECT FROM zart.released_steps x
                WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                    AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
            AND NOT (r.is_exempting AND EXISTS (
                SELECT FROM zart.pause_exemptions x
                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                        SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                OFFSET 0))) AS matches
    FROM settling r CROSS JOIN part p CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt FROM zart.queue
        WHERE queue.run_key = p.run_key AND queue.step_no = p.step_no OFFSET 0) t
    WHERE p.token_until IS NOT NULL AND t.attempt = p.attempt
), picked AS MATERIALIZED (
    SELECT ctid AS tid FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM seen
        WHERE matches))
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(SELECT tid FROM picked))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), moved AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, $1 FROM gone
    RETURNING run_key
)
SELECT (SELECT count(*) FROM seen WHERE matches) - (SELECT count(*) FROM moved),
    last.run_key, last.step_no, last.attempt
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT run_key, step_no, attempt FROM part
    ORDER BY run_key DESC, step_no DESC, attempt DESC LIMIT 1) last ON true;
