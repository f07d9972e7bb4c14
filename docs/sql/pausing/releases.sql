-- store/pausing/releases.py: standing_releases
-- Return the releases that have not ended, by rule key; locks nothing.
-- Locks: nothing.
SELECT rule_key, rate_per_second, LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
        ELSE credit + rate_per_second * COALESCE(
                EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END), unleased_steps + released_steps - counted_released,
    NOT EXISTS (SELECT FROM zart.pause_work w
        WHERE w.rule_key = r.rule_key AND work = 'settle' OFFSET 0),
    statement_timestamp(),
    CASE WHEN counted_at <= statement_timestamp() THEN
    EXTRACT(epoch FROM statement_timestamp() - counted_at)::float8 END, CASE WHEN credit_at <= statement_timestamp() THEN
    EXTRACT(epoch FROM statement_timestamp() - credit_at)::float8 END, started_at
FROM zart.pause_releases r WHERE ended_at IS NULL ORDER BY rule_key;

-- store/pausing/releases.py: begin_releases
-- Have active rules, by their keys, release their steps as ``begin_release`` does, at rates.
-- Locks: pause_rules; pause_canaries.
-- Parameters: rule_keys=$1, started_by=$2, principal=$3, reason=$4, incident=$5, rates=$6.
WITH kept AS (
    UPDATE zart.pause_rules SET expires_at = NULL
    WHERE expires_at IS NOT NULL AND rule_key = ANY(ARRAY(
        SELECT rule_key FROM zart.pause_rules WHERE rule_key = ANY($1::bigint[])
        ORDER BY rule_key FOR NO KEY UPDATE))
), canaries AS (
    DELETE FROM zart.pause_canaries WHERE rule_key = ANY($1::bigint[])
)
INSERT INTO zart.pause_releases AS r (rule_key, rate_per_second, credit, started_by, principal,
        reason, incident)
SELECT rule_key, rate, 1, $2, $3, $4, $5
FROM unnest($1::bigint[], $6::float8[]) begun(rule_key, rate)
ON CONFLICT (rule_key) DO UPDATE SET (rate_per_second, credit, credit_at, released_steps,
        unleased_steps, paused_steps, counted_released, counted_at, is_waiting,
        expected_end_at, started_at, started_by, principal, reason, incident, ended_at)
    = (excluded.rate_per_second, 1, NULL, 0, 0, 0, 0, NULL, false,
            NULL, excluded.started_at, excluded.started_by, excluded.principal, excluded.reason,
            excluded.incident, NULL);

-- store/pausing/releases.py: change_rate
-- Give a release another rate; return False if the rule is not releasing.
-- Locks: pause_releases.
UPDATE zart.pause_releases
SET credit = GREATEST(0, LEAST(GREATEST($2::float8, 1), LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
        ELSE credit + rate_per_second * COALESCE(
                EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END))),
    rate_per_second = $2::float8, counted_at = NULL,
    credit_at = CASE WHEN credit_at IS NOT NULL THEN statement_timestamp() END,
    expected_end_at = NULL
WHERE rule_key = $1 AND ended_at IS NULL;

-- store/pausing/releases.py: stop_release
-- End a release: the rule withholds again what it let go and nobody has leased.
-- Locks: pause_releases; released_steps.
-- Parameters: rule_key=$1.
WITH stopped AS (
    UPDATE zart.pause_releases SET ended_at = statement_timestamp()
    WHERE rule_key = $1 AND ended_at IS NULL
    RETURNING rule_key
), taken AS (
    UPDATE zart.released_steps s SET token_until = t.token
    FROM (SELECT zart.last_token() AS token OFFSET 0) t
    WHERE s.rule_key = (SELECT rule_key FROM stopped) AND COALESCE(s.token_until, -1) = -1
    RETURNING s.rule_key
), work AS (
    INSERT INTO zart.pause_work (rule_key, work, of_released)
    SELECT rule_key, 'settle', true FROM stopped WHERE EXISTS (SELECT FROM taken)
    ON CONFLICT (rule_key, work, execution_id, of_released) DO UPDATE SET work_no = DEFAULT
)
SELECT EXISTS (SELECT FROM stopped);

-- store/pausing/releases.py: is_settled
-- Return whether what a rule withholds is in its line; it stays so under the pause lock.
-- Locks: nothing.
SELECT NOT EXISTS (SELECT FROM zart.pause_work WHERE rule_key = $1 AND work = 'settle');

-- store/pausing/releases.py: begun_release
-- Return the release of a rule if it has not ended.
-- Locks: nothing.
SELECT p.rule_id, r.started_by, r.reason, r.principal, r.incident, r.started_at, p.epoch, statement_timestamp()
FROM zart.pause_releases r JOIN zart.pause_rules p USING (rule_key)
WHERE r.rule_key = $1
    AND r.ended_at IS NULL
    AND p.deleted_at IS NULL;

-- store/pausing/releases.py: has_line
-- Return whether a paused step is attributed to a rule, of those that can run ``since`` then.
-- Locks: nothing.
SELECT (SELECT rule_key FROM zart.held WHERE (rule_key, not_before, queue_no) > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), -1) AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0) ORDER BY rule_key, not_before, queue_no LIMIT 1) IS NOT NULL;

-- store/pausing/releases.py: is_any_put_back
-- Return whether a step is attributed to a rule of which an attempt was given back ``since``.
-- Locks: nothing.
SELECT EXISTS (
    SELECT FROM (
        SELECT run_key, step_no FROM zart.attempts
        WHERE completed_at >= $2 AND status = 'released') a
    CROSS JOIN LATERAL (
        SELECT rule_key FROM zart.held h
        WHERE h.run_key = a.run_key AND h.step_no = a.step_no OFFSET 0) h
    WHERE h.rule_key = $1);

-- store/pausing/releases.py: withholds_any
-- Return whether a rule withholds a paused step, whatever rule it is attributed to.
-- Locks: nothing.
SELECT EXISTS (
    SELECT FROM zart.pause_rules r CROSS JOIN LATERAL (
        (SELECT t.run_key, t.step_no, t.attempt, t.step_name
            FROM (
                SELECT l.run_key, e.task_name FROM (
                    SELECT execution_key, task_name FROM zart.executions
                    WHERE execution_id = r.execution_id OFFSET 0) e
                CROSS JOIN LATERAL (
                    SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                    ORDER BY run_number DESC LIMIT 1) l
                WHERE l.status IN ('scheduled', 'running')
            ) u CROSS JOIN LATERAL (
                SELECT run_key, step_no, attempt, step_name FROM zart.held
                WHERE run_key = u.run_key OFFSET 0) t
            WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
                AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
            LIMIT NULL)
        UNION ALL
        (SELECT m.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT run_key, step_no, attempt, step_name FROM zart.held t WHERE t.lane = l.lane
                ORDER BY t.not_before, t.queue_no LIMIT NULL) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT NULL)
        UNION ALL
        (SELECT t.run_key, t.step_no, t.attempt, t.step_name
            FROM (
                SELECT t.* FROM (
                    SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                    UNION ALL SELECT lane, task_name, step_name
                    FROM zart.lanes
                    WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.held WHERE lane = l.lane
                    ORDER BY not_before, queue_no LIMIT NULL) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT NULL
            ) t
            WHERE t.step_name ~ r.step_regex
            LIMIT NULL)
    ) m
    CROSS JOIN LATERAL (
        SELECT attempt, queue_no FROM zart.held h
        WHERE h.run_key = m.run_key AND h.step_no = m.step_no OFFSET 0) h
    WHERE r.rule_key = $1 AND ($2::bigint IS NULL OR h.queue_no <= $2) AND NOT EXISTS (
        SELECT FROM zart.released_steps s
        WHERE s.run_key = m.run_key AND s.step_no = m.step_no AND s.attempt = h.attempt
            AND s.rule_key = r.rule_key AND s.token_until IS NULL OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.execution_id = (
                SELECT execution_id FROM zart.executions WHERE execution_key = (
                    SELECT execution_key FROM zart.runs WHERE run_key = m.run_key)) AND x.token_until IS NULL
            OFFSET 0));
