-- store/pausing/rules.py: share_pause_lock
-- Take the pause lock shared: no rule changes until this transaction ends.
-- Locks: pause lock.
SELECT set_config('lock_timeout', '500', true)
FROM (SELECT pg_advisory_xact_lock_shared($1) OFFSET 0) shared;

-- store/pausing/rules.py: insert_rule
-- Insert an active rule that is to be settled, and record the operation.
-- Locks: pause_epoch.
-- Parameters: rule_id=$1, execution_id=$2, task_name=$3, step_pattern=$4, step_regex=$5,
--   everything=$6, reason=$7, created_by=$8, principal=$9, incident=$10, breaker_id=$11,
--   expires_at=$12, expires_in=$13, expiry_rate=$14, records=$15.
WITH rule AS (
    INSERT INTO zart.pause_rules (rule_id, execution_id, task_name, step_pattern,
            step_regex, everything, reason, created_by, principal, incident, breaker_id,
            expires_at, expiry_rate, epoch, token_from)
    SELECT $1, $2, $3, $4,
        $5, $6, $7, $8, $9, $10, $11,
        COALESCE($12::timestamptz, statement_timestamp() + $13::interval),
        $14, (SELECT epoch + 1 FROM zart.pause_epoch), zart.last_token()
    WHERE $12::timestamptz IS NULL OR $12::timestamptz > statement_timestamp()
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle' FROM rule
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
), told AS (
    SELECT u.*
    FROM rule, json_to_recordset($15::text::json) u(execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            batch_id text, replaced json, made json)
    WHERE rule.breaker_id = ''
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT 'pause'::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM told
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = rule.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt, (
            SELECT drained_at FROM zart.pause_drains d
            WHERE d.rule_key = rule.rule_key) AS drained_at, (
                SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                        z.expected_end_at, z.started_by, z.is_waiting)
                FROM zart.pause_releases z WHERE z.rule_key = rule.rule_key
                    AND (z.ended_at IS NULL OR z.ended_at >= rule.deleted_at)) AS release FROM rule;

-- store/pausing/rules.py: find_rule
-- Return a rule by its id, deleted or not.
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
WHERE rule_id = $1;

-- store/pausing/rules.py: pauses_due
-- Return what is due for pause rules and breakers; locks nothing.
-- Locks: nothing.
SELECT EXTRACT(epoch FROM min(expires_at) - statement_timestamp())::float8, EXISTS (SELECT FROM zart.pause_work), EXISTS (SELECT FROM zart.pause_drains WHERE drained_at IS NULL), EXISTS (SELECT FROM zart.pause_releases WHERE ended_at IS NULL) OR EXISTS (SELECT FROM zart.pause_canaries), EXISTS (SELECT FROM zart.breakers)
FROM zart.pause_rules
WHERE deleted_at IS NULL
    AND expires_at IS NOT NULL;
