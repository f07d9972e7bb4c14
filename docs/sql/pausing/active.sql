-- store/pausing/active.py: read_active
-- Return the epoch, the number of changes of the rules, and the active rules.
-- Locks: nothing.
SELECT e.epoch AS now, rule_key, execution_id, task_name, step_pattern, everything, ARRAY(
    SELECT x.execution_id FROM zart.pause_exemptions x
    WHERE x.rule_key = p.rule_key
        AND x.token_until IS NULL) AS exempt
FROM zart.pause_epoch e LEFT JOIN zart.pause_rules p
ON deleted_at IS NULL
ORDER BY rule_key;

-- store/pausing/active.py: read_changed
-- Return the rules that changed after the epoch ``since``; None if they are too many.
-- Locks: nothing.
SELECT e.epoch AS now, r.* FROM zart.pause_epoch e LEFT JOIN LATERAL (
    SELECT rule_key, execution_id, task_name, step_pattern, everything, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key
            AND x.token_until IS NULL) AS exempt, deleted_at IS NOT NULL AS is_deleted
    FROM zart.pause_rules p
    WHERE epoch > $1 ORDER BY epoch LIMIT 1000) r ON true;
