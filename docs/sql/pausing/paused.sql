-- store/pausing/paused.py: paused_by_rule
-- Return the oldest paused steps attributed to a rule, after one of them; locks nothing.
-- Locks: nothing.
SELECT not_before, queue_no, run_key
FROM zart.held
WHERE (rule_key, not_before, queue_no) > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), $3::bigint)
    AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0)
ORDER BY rule_key, not_before, queue_no LIMIT $4;

-- store/pausing/paused.py: paused_with_names
-- Return what ``paused_by_rule`` does, each step also as pause rules know it; locks nothing.
-- Locks: nothing.
SELECT h.not_before, h.queue_no, h.run_key, e.execution_id, l.task_name, h.step_name, ARRAY(
    SELECT s.rule_key FROM zart.released_steps s
    WHERE s.run_key = h.run_key AND s.step_no = h.step_no AND s.attempt = h.attempt
        AND s.token_until IS NULL)
FROM (
    SELECT * FROM zart.held WHERE (rule_key, not_before, queue_no)
        > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), $3::bigint)
        AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0)
    ORDER BY rule_key, not_before, queue_no LIMIT $4) h
CROSS JOIN LATERAL (SELECT task_name FROM zart.lanes WHERE lane = h.lane OFFSET 0) l
CROSS JOIN LATERAL (
    SELECT execution_id FROM zart.executions WHERE execution_key = (
        SELECT execution_key FROM zart.runs WHERE run_key = h.run_key) OFFSET 0) e
ORDER BY h.not_before, h.queue_no;

-- store/pausing/paused.py: run_of
-- Return the unfinished run of an execution, if it has one; locks nothing.
-- Locks: nothing.
SELECT run_key FROM (
    SELECT l.run_key, e.task_name FROM (
        SELECT execution_key, task_name FROM zart.executions
        WHERE execution_id = $1 OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) l
    WHERE l.status IN ('scheduled', 'running')
) u;

-- store/pausing/paused.py: paused_in_runs
-- Lock and return the oldest paused steps, attributed to a rule, of runs that are locked.
-- Locks: held, passing over locked rows.
-- Parameters: of_executions=$1, run_keys=$2, rule_key=$3, last_queue_no=$4, limit=$5.
SELECT h.run_key, h.step_no, h.attempt, CASE WHEN $1::boolean THEN (
    SELECT execution_id FROM zart.executions WHERE execution_key = (
        SELECT execution_key FROM zart.runs WHERE run_key = h.run_key))
    ELSE '' END, l.task_name, l.handler,
    h.step_name, h.lane, h.not_before, h.queue_no, ARRAY(
        SELECT s.rule_key FROM zart.released_steps s
        WHERE s.run_key = h.run_key AND s.step_no = h.step_no AND s.attempt = h.attempt
            AND s.token_until IS NULL)
FROM (
    SELECT h.* FROM unnest($2::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.held WHERE run_key = u.run_key OFFSET 0) h
    WHERE h.rule_key = $3::bigint
        AND ($4::bigint IS NULL OR h.queue_no <= $4)
    ORDER BY h.not_before, h.queue_no LIMIT $5::bigint) h
CROSS JOIN LATERAL (
    SELECT FROM zart.held WHERE held.run_key = h.run_key AND held.step_no = h.step_no
    FOR UPDATE SKIP LOCKED) free
CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = h.lane OFFSET 0) l
ORDER BY h.not_before, h.queue_no;

-- store/pausing/paused.py: release
-- Queue paused steps, or attribute them to the rules that withhold them now; return how many.
-- Locks: held.
-- Parameters: run_keys=$1, step_nos=$2, rules=$3, epoch=$4.
WITH steps AS MATERIALIZED (
    SELECT run_key, step_no, NULLIF(rule, 0) AS rule
    FROM unnest($1::text::bigint[], $2::text::integer[],
            $3::text::bigint[]) u(run_key, step_no, rule)
    WHERE $4::bigint = (SELECT epoch FROM zart.pause_epoch)
), picked AS MATERIALIZED (
    SELECT h.tid, s.rule FROM steps s CROSS JOIN LATERAL (
        SELECT ctid AS tid FROM zart.held
        WHERE held.run_key = s.run_key AND held.step_no = s.step_no OFFSET 0) h
), kept AS (
    UPDATE zart.held h SET rule_key = p.rule FROM picked p
    WHERE h.ctid = p.tid AND p.rule IS NOT NULL
), gone AS (
    DELETE FROM zart.held WHERE ctid = ANY(ARRAY(SELECT tid FROM picked WHERE rule IS NULL))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at FROM gone
    ORDER BY not_before, queue_no
)
SELECT epoch FROM zart.pause_epoch;
