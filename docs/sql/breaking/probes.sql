-- store/breaking/probes.py: find_probes
-- Return how the probes of a breaker stand.
-- Locks: nothing.
SELECT b.breaker_key, b.rule_key, b.half_open_at, b.probe_steps, p.good, p.bad, p.under_way
FROM zart.breakers b CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.status = 'completed' AND s.attempt = x.attempt
            AND s.resolution IS NULL) AS good,
        count(a.status) AS bad, count(t.attempt) AS under_way
    FROM (SELECT x.* FROM zart.released_steps x
        WHERE (x.rule_key + 0, x.released_at) > (b.rule_key, b.half_open_at)
            AND (x.rule_key + 0, x.released_at) <= (b.rule_key, 'infinity') OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT status, attempt, resolution FROM zart.steps
        WHERE run_key = x.run_key AND step_no = x.step_no OFFSET 0) s ON true
    LEFT JOIN LATERAL (
        SELECT status FROM zart.attempts
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND status IN ('failed', 'timed_out', 'lost') AND lease_token IS NOT NULL
        OFFSET 0) a ON true
    LEFT JOIN LATERAL (
        SELECT attempt FROM zart.queue
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND x.token_until IS NULL
        UNION ALL
        SELECT attempt FROM zart.leases
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
        UNION ALL
        SELECT attempt FROM zart.held h
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND x.token_until IS NULL AND EXISTS (
                SELECT FROM zart.pause_releases z
                WHERE z.rule_key = h.rule_key AND z.ended_at IS NULL OFFSET 0) OFFSET 0
    ) t ON true) p
WHERE b.status = 'half_open' AND NOT EXISTS (
    SELECT FROM zart.pause_releases z
    WHERE z.rule_key = b.rule_key AND z.ended_at IS NULL OFFSET 0)
    AND b.breaker_id = $1;

-- store/breaking/probes.py: find_probes_of_rules
-- Return how the probes stand of those breakers, half open, whose rules have these keys.
-- Locks: nothing.
SELECT b.breaker_key, b.rule_key, b.half_open_at, b.probe_steps, p.good, p.bad, p.under_way
FROM zart.breakers b CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.status = 'completed' AND s.attempt = x.attempt
            AND s.resolution IS NULL) AS good,
        count(a.status) AS bad, count(t.attempt) AS under_way
    FROM (SELECT x.* FROM zart.released_steps x
        WHERE (x.rule_key + 0, x.released_at) > (b.rule_key, b.half_open_at)
            AND (x.rule_key + 0, x.released_at) <= (b.rule_key, 'infinity') OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT status, attempt, resolution FROM zart.steps
        WHERE run_key = x.run_key AND step_no = x.step_no OFFSET 0) s ON true
    LEFT JOIN LATERAL (
        SELECT status FROM zart.attempts
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND status IN ('failed', 'timed_out', 'lost') AND lease_token IS NOT NULL
        OFFSET 0) a ON true
    LEFT JOIN LATERAL (
        SELECT attempt FROM zart.queue
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND x.token_until IS NULL
        UNION ALL
        SELECT attempt FROM zart.leases
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
        UNION ALL
        SELECT attempt FROM zart.held h
        WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
            AND x.token_until IS NULL AND EXISTS (
                SELECT FROM zart.pause_releases z
                WHERE z.rule_key = h.rule_key AND z.ended_at IS NULL OFFSET 0) OFFSET 0
    ) t ON true) p
WHERE b.status = 'half_open' AND NOT EXISTS (
    SELECT FROM zart.pause_releases z
    WHERE z.rule_key = b.rule_key AND z.ended_at IS NULL OFFSET 0)
    AND b.rule_key = ANY($1::bigint[]);

-- store/breaking/probes.py: error_of_probes
-- Return the last error of a breaker's probes.
-- Locks: nothing.
SELECT a.error FROM zart.breakers b CROSS JOIN LATERAL (
    SELECT x.* FROM zart.released_steps x
    WHERE (x.rule_key + 0, x.released_at) > (b.rule_key, b.half_open_at)
        AND (x.rule_key + 0, x.released_at) <= (b.rule_key, 'infinity') OFFSET 0) x
CROSS JOIN LATERAL (
    SELECT error, completed_at FROM zart.attempts
    WHERE run_key = x.run_key AND step_no = x.step_no AND attempt = x.attempt
        AND status IN ('failed', 'timed_out', 'lost') AND lease_token IS NOT NULL OFFSET 0) a
WHERE b.breaker_key = $1 ORDER BY a.completed_at DESC LIMIT 1;

-- store/breaking/probes.py: take_back
-- Have a rule withhold again what it let go and nobody has leased: that is to be settled.
-- Locks: released_steps; pause_canaries.
-- Parameters: rule_key=$1.
WITH taken AS (
    UPDATE zart.released_steps s SET token_until = t.token
    FROM (SELECT zart.last_token() AS token OFFSET 0) t
    WHERE s.rule_key = $1 AND COALESCE(s.token_until, -1) = -1
    RETURNING s.rule_key
), canary AS (
    DELETE FROM zart.pause_canaries WHERE rule_key = $1
)
INSERT INTO zart.pause_work (rule_key, work, of_released)
SELECT DISTINCT rule_key, 'settle', true FROM taken
ON CONFLICT (rule_key, work, execution_id, of_released) DO UPDATE SET work_no = DEFAULT;
