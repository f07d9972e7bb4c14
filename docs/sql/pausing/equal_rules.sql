-- store/pausing/equal_rules.py: equal_rules
-- Return the rules with this very scope that stand, oldest first: not those that release.
-- Locks: nothing.
-- Parameters: everything=$1, execution_id=$2, task_name=$3, step_pattern=$4, most=$5.
SELECT rule_id, created_by, reason FROM zart.pause_rules p
WHERE deleted_at IS NULL AND everything = $1
    AND execution_id IS NOT DISTINCT FROM $2::text
    AND task_name IS NOT DISTINCT FROM $3::text
    AND step_pattern IS NOT DISTINCT FROM $4::text
    AND NOT EXISTS (SELECT FROM zart.pause_releases l
        WHERE l.rule_key = p.rule_key AND l.ended_at IS NULL)
ORDER BY rule_key LIMIT $5::bigint;
