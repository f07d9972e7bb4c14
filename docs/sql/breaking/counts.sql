-- store/breaking/counts.py: has_breakers
-- Return whether there is any breaker, in whatever state.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.breakers);

-- store/breaking/counts.py: take_look
-- Return since when attempts are to be looked for; None: there is nothing to look for now.
-- Locks: breaker_looks.
WITH last AS MATERIALIZED (
    SELECT looked_at FROM zart.breaker_looks
    WHERE (looked_at <= statement_timestamp() - 0.4 * interval '1 second'
            OR looked_at > statement_timestamp())
        AND EXISTS (SELECT FROM zart.breakers)
    FOR NO KEY UPDATE SKIP LOCKED
), now AS (
    UPDATE zart.breaker_looks SET looked_at = statement_timestamp()
    WHERE EXISTS (SELECT FROM last)
)
SELECT GREATEST(LEAST(looked_at, statement_timestamp()) - 5 * interval '1 second',
        statement_timestamp() - 60 * interval '1 second')
FROM last;

-- store/breaking/counts.py: find_failed
-- Return the attempts that ended badly, the last one first, at most ``MOST``.
-- Locks: nothing.
SELECT a.run_key, a.step_no, a.attempt, a.lease_token, date_trunc('second', a.completed_at),
    a.completed_at > statement_timestamp() - 0.7 * interval '1 second',
    e.execution_id, r.definition_key,
    CASE WHEN g.is_asked_for THEN a.error->>'type' END,
    CASE WHEN g.is_asked_for THEN a.error->>'message' END
FROM (SELECT EXISTS (
    SELECT FROM zart.breakers WHERE status = 'closed' AND error_group_id IS NOT NULL)
        AS is_asked_for) g
CROSS JOIN LATERAL (
    SELECT * FROM zart.attempts
    WHERE completed_at > $1 AND completed_at <= statement_timestamp()
        AND status IN ('failed', 'timed_out', 'lost')
        AND lease_token IS NOT NULL
    ORDER BY completed_at DESC LIMIT 10000) a
CROSS JOIN LATERAL (SELECT execution_key, definition_key FROM zart.runs
    WHERE run_key = a.run_key OFFSET 0) r
CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
    WHERE execution_key = r.execution_key OFFSET 0) e;

-- store/breaking/counts.py: find_counting
-- Return the closed breakers that may count a step of these tasks.
-- Locks: nothing.
SELECT breaker_key, generation, token_from, task_name, step_pattern,
    error_group_id, min_failure_ratio > 0 AS has_ratio,
    ARRAY(SELECT execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = b.rule_key
            AND x.token_until IS NULL) AS exempt
FROM zart.breakers b
WHERE status = 'closed'
    AND task_name IS NULL
UNION ALL
SELECT c.* FROM unnest($1::text[]) u(name) CROSS JOIN LATERAL (
    SELECT breaker_key, generation, token_from, task_name, step_pattern,
        error_group_id, min_failure_ratio > 0 AS has_ratio,
        ARRAY(SELECT execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = b.rule_key AND x.token_until IS NULL) AS exempt FROM zart.breakers b
    WHERE status = 'closed' AND task_name = u.name OFFSET 0) c;

-- store/breaking/counts.py: find_counting_ratios
-- Return the closed breakers for which completed attempts are counted.
-- Locks: nothing.
SELECT breaker_key, generation, token_from, task_name, step_pattern,
    error_group_id, min_failure_ratio > 0 AS has_ratio,
    ARRAY(SELECT execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = b.rule_key AND x.token_until IS NULL) AS exempt FROM zart.breakers b
WHERE status = 'closed' AND min_failure_ratio > 0;

-- store/breaking/counts.py: count_failed
-- Note how many attempts ended badly in each second; what is known already stays.
-- Locks: nothing.
-- Parameters: keys=$1, generations=$2, seconds=$3, numbers=$4, others=$5.
INSERT INTO zart.breaker_counts AS c (breaker_key, generation, second, failed,
        failed_otherwise)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[],
        $4::integer[], $5::integer[])
ON CONFLICT (breaker_key, generation, second)
    DO UPDATE SET failed = GREATEST(c.failed, excluded.failed),
    failed_otherwise = GREATEST(c.failed_otherwise, excluded.failed_otherwise)
WHERE c.failed < excluded.failed OR c.failed_otherwise < excluded.failed_otherwise;

-- store/breaking/counts.py: count_completed
-- Add to the attempts that were completed in this second.
-- Locks: nothing.
-- Parameters: keys=$1, generations=$2, numbers=$3.
INSERT INTO zart.breaker_counts AS c (breaker_key, generation, second, completed)
SELECT key, generation, date_trunc('second', statement_timestamp()), number
FROM unnest($1::bigint[], $2::integer[], $3::integer[])
    u(key, generation, number)
ON CONFLICT (breaker_key, generation, second)
    DO UPDATE SET completed = c.completed + excluded.completed;

-- store/breaking/counts.py: find_reached
-- Return those of the breakers, by key, that have counted enough to open.
-- Locks: nothing.
SELECT b.breaker_key, b.breaker_id, b.generation
FROM unnest($1::bigint[], $2::integer[]) u(breaker_key, young)
CROSS JOIN LATERAL (
    SELECT * FROM zart.breakers WHERE breaker_key = u.breaker_key AND status = 'closed'
    OFFSET 0) b
CROSS JOIN LATERAL (
    SELECT sum(failed) - CASE WHEN b.min_failure_ratio > 0 THEN u.young ELSE 0 END AS failed,
        COALESCE(sum(completed + failed_otherwise), 0) AS others
    FROM zart.breaker_counts c
    WHERE c.breaker_key = b.breaker_key
        AND c.generation = b.generation
        AND c.second > statement_timestamp() - b.counted_within - interval '1 second'
        AND c.second <= statement_timestamp() + interval '1 second') n
WHERE n.failed >= b.failure_threshold
-- closed_at is when its generation began
    AND CASE WHEN b.min_failure_ratio > 0
    THEN b.closed_at <= statement_timestamp() - 1.5 * interval '1 second'
    ELSE true END
-- a product is not exact: 0.28 of 25 is more than 7
    AND n.failed >= b.min_failure_ratio * (n.failed + n.others) - 1e-6;

-- store/breaking/counts.py: find_updated
-- Return the closed breakers, by key, whose settings were changed since then.
-- Locks: nothing.
SELECT breaker_key FROM zart.breakers WHERE updated_at > $1 AND status = 'closed';

-- store/breaking/counts.py: read_error
-- Return the error of an attempt that ended.
-- Locks: nothing.
SELECT error FROM zart.attempts WHERE run_key = $1 AND step_no = $2 AND attempt = $3;

-- store/breaking/counts.py: purge_counts
-- Delete the counts that no breaker looks back to.
-- Locks: breaker_counts.
DELETE FROM zart.breaker_counts c WHERE NOT EXISTS (
    SELECT FROM zart.breakers b WHERE b.breaker_key = c.breaker_key
        AND b.generation = c.generation
        AND b.status = 'closed'
        AND c.second > statement_timestamp() - b.counted_within - interval '1 second'
        AND c.second <= statement_timestamp() + interval '1 second' OFFSET 0);
