-- store/pausing/updating.py: update_rule
-- Exempt executions, or match them again, and set when an active rule ends.
-- Locks: pause_rules; pause_exemptions; pause_work; pause_drains; pause_epoch.
-- Parameters: keeps_expiry=$1, at=$2, after=$3, rule_key=$4, removed=$5, added=$6.
WITH rule AS (
    UPDATE zart.pause_rules SET epoch = (SELECT epoch + 1 FROM zart.pause_epoch),
        expires_at = CASE WHEN $1 THEN expires_at
        ELSE COALESCE($2::timestamptz, statement_timestamp() + $3::interval) END
    WHERE rule_key = $4 AND deleted_at IS NULL
        AND ($2::timestamptz IS NULL OR $2::timestamptz > statement_timestamp())
    RETURNING rule_key, execution_id
), removed AS (
    UPDATE zart.pause_exemptions x SET token_until = zart.last_token()
    WHERE x.rule_key = (SELECT rule_key FROM rule) AND x.token_until IS NULL
        AND x.execution_id = ANY($5::text[])
), added AS (
    INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
    SELECT rule_key, id, zart.last_token() FROM rule, unnest($6::text[]) id
    ON CONFLICT (rule_key, execution_id, token_from) DO UPDATE SET token_until = NULL
), undone AS (
    DELETE FROM zart.pause_work w USING rule WHERE w.rule_key = rule.rule_key
        AND w.execution_id = ANY(
                CASE work WHEN 'settle' THEN $6::text[] ELSE $5::text[] END)
), work AS (
    INSERT INTO zart.pause_work (rule_key, work, execution_id)
    SELECT rule_key, w.work, w.id FROM rule, LATERAL (
        SELECT 'release' AS work, id FROM unnest($6::text[]) id
        UNION ALL SELECT 'settle', id FROM unnest($5::text[]) id) w
    WHERE rule.execution_id IS NULL OR rule.execution_id = w.id
    ON CONFLICT DO NOTHING
), drains AS (
    UPDATE zart.pause_drains d SET drained_at = NULL, undrained = undrained + 1
    FROM rule WHERE d.rule_key = rule.rule_key AND $5::text[] <> '{}'
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
)
SELECT rule_key FROM rule;

-- store/pausing/updating.py: unknown_executions
-- Return those of the ids that no execution has, by their place in the list.
-- Locks: nothing.
SELECT n, id
FROM unnest($1::text[]) WITH ORDINALITY u(id, n)
WHERE NOT EXISTS ( SELECT FROM zart.executions WHERE execution_id = u.id OFFSET 0);
