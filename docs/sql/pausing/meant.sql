-- store/pausing/meant.py: rules_meant
-- Return the rules that ``delete_rules`` would delete, oldest first.
-- Locks: nothing.
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt, (
            SELECT drained_at FROM zart.pause_drains d
            WHERE d.rule_key = p.rule_key) AS drained_at, (
                SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                        z.expected_end_at, z.started_by, z.is_waiting)
                FROM zart.pause_releases z WHERE z.rule_key = p.rule_key
                    AND (z.ended_at IS NULL OR z.ended_at >= p.deleted_at)) AS release
FROM zart.pause_rules p
WHERE rule_key = ANY($1::bigint[])
ORDER BY rule_key;
