-- store/pausing/ending.py: active_rule_keys
-- Return active rules: the one named, or those whose fields equal every set field of scope.
-- Locks: nothing.
-- Parameters: rule_id=$1, execution_id=$2, task_name=$3, step_pattern=$4.
SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL
    AND ($1::text IS NULL AND NOT EXISTS (
        SELECT FROM zart.pause_releases z
        WHERE z.rule_key = pause_rules.rule_key AND z.ended_at IS NULL OFFSET 0) OR rule_id = $1)
    AND ($2::text IS NULL OR execution_id = $2)
    AND ($3::text IS NULL OR task_name = $3)
    AND ($4::text IS NULL OR step_pattern = $4)
ORDER BY rule_key;

-- store/pausing/ending.py: find_active
-- Return the rules that are not deleted whose own fields equal every set field of a scope.
-- Locks: nothing.
-- Parameters: releasing=$1, execution_id=$2, task_name=$3, step_pattern=$4.
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
WHERE deleted_at IS NULL
    AND ($1::boolean IS NULL OR $1 = EXISTS (
        SELECT FROM zart.pause_releases z
        WHERE z.rule_key = p.rule_key AND z.ended_at IS NULL OFFSET 0))
    AND ($2::text IS NULL OR execution_id = $2)
    AND ($3::text IS NULL OR task_name = $3)
    AND ($4::text IS NULL OR step_pattern = $4)
ORDER BY rule_key;

-- store/pausing/ending.py: delete_rules
-- Delete (softly) the rules that ``active_rule_keys`` finds; their steps are to be released.
-- Locks: pause_rules; pause_work; pause_releases; pause_canaries; pause_epoch; breakers.
-- Parameters: deleted_by=$1, principal=$2, expired=$3, rule_id=$4, execution_id=$5, task_name=$6,
--   step_pattern=$7, closed_for=$8, request_id=$9, incident=$10, exempt=$11.
WITH deleted AS (
    UPDATE zart.pause_rules
    SET deleted_at = statement_timestamp(), deleted_by = $1,
        deleted_by_principal = $2, expired = $3,
        epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = zart.last_token()
    WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
        SELECT rule_key
        FROM zart.pause_rules
        WHERE deleted_at IS NULL
            AND (($4::text IS NULL AND NOT EXISTS (
                SELECT FROM zart.pause_releases z
                WHERE z.rule_key = pause_rules.rule_key AND z.ended_at IS NULL OFFSET 0) OR rule_id = $4)
                    AND ($5::text IS NULL OR execution_id = $5)
                    AND ($6::text IS NULL OR task_name = $6)
                    AND ($7::text IS NULL OR step_pattern = $7))
        ORDER BY rule_key FOR NO KEY UPDATE))
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate
), undone AS (
    DELETE FROM zart.pause_work w USING deleted
    WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
), releases AS (
    UPDATE zart.pause_releases r SET ended_at = statement_timestamp() FROM deleted
    WHERE r.rule_key = deleted.rule_key AND r.ended_at IS NULL
), canaries AS (
    DELETE FROM zart.pause_canaries c USING deleted WHERE c.rule_key = deleted.rule_key
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
), closed AS (
    UPDATE zart.breakers b
    SET status = 'closed', closed_at = statement_timestamp(), generation = generation + 1,
        token_from = zart.last_token(),
        cooldowns = CASE $1::text WHEN 'breaker ' || breaker_id THEN cooldowns
        ELSE 0 END
    WHERE status <> 'closed' AND rule_key = ANY(ARRAY(SELECT rule_key FROM deleted))
    RETURNING breaker_id, rule_key
), closings AS (
    INSERT INTO zart.operations (kind, breaker_id, rule_id, task_name, triggered_by, principal,
            reason, request_id, incident)
    SELECT 'breaker_closed', closed.breaker_id, rule_id, COALESCE(task_name, ''), $1,
        $2, $8::text, $9::text,
        COALESCE(NULLIF($10::text, ''), deleted.incident)
    FROM closed JOIN deleted USING (rule_key)
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = deleted.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT $11::bigint) AS exempt, (
            SELECT drained_at FROM zart.pause_drains d
            WHERE d.rule_key = deleted.rule_key) AS drained_at, (
                SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                        z.expected_end_at, z.started_by, z.is_waiting)
                FROM zart.pause_releases z WHERE z.rule_key = deleted.rule_key
                    AND (z.ended_at IS NULL OR z.ended_at >= deleted.deleted_at)) AS release
FROM deleted
ORDER BY rule_key;

-- store/pausing/ending.py: count_expired
-- Count the rules that have expired by the database's clock, up to a limit; locks nothing.
-- Locks: nothing.
SELECT count(*)
FROM (SELECT FROM zart.pause_rules WHERE deleted_at IS NULL AND expires_at <= statement_timestamp() ORDER BY expires_at LIMIT $1) due;

-- store/pausing/ending.py: find_expired
-- Return rules that have expired by the database's clock, but not what they exempt.
-- Locks: nothing.
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 0) AS exempt, (
            SELECT drained_at FROM zart.pause_drains d
            WHERE d.rule_key = p.rule_key) AS drained_at, (
                SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                        z.expected_end_at, z.started_by, z.is_waiting)
                FROM zart.pause_releases z WHERE z.rule_key = p.rule_key
                    AND (z.ended_at IS NULL OR z.ended_at >= p.deleted_at)) AS release
FROM zart.pause_rules p
WHERE deleted_at IS NULL
    AND expires_at <= statement_timestamp()
ORDER BY expires_at LIMIT $1;

-- store/pausing/ending.py: delete_expired
-- Delete rules that have expired, as ``delete_rules`` does.
-- Locks: pause_rules; pause_work; pause_releases; pause_canaries; pause_epoch; breakers.
-- Parameters: deleted_by=$1, principal=$2, expired=$3, rule_keys=$4, closed_for=$5, request_id=$6,
--   incident=$7.
WITH deleted AS (
    UPDATE zart.pause_rules
    SET deleted_at = statement_timestamp(), deleted_by = $1,
        deleted_by_principal = $2, expired = $3,
        epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = zart.last_token()
    WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
        SELECT rule_key
        FROM zart.pause_rules
        WHERE deleted_at IS NULL
            AND (rule_key = ANY($4::bigint[]))
        ORDER BY rule_key FOR NO KEY UPDATE))
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate
), undone AS (
    DELETE FROM zart.pause_work w USING deleted
    WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
), releases AS (
    UPDATE zart.pause_releases r SET ended_at = statement_timestamp() FROM deleted
    WHERE r.rule_key = deleted.rule_key AND r.ended_at IS NULL
), canaries AS (
    DELETE FROM zart.pause_canaries c USING deleted WHERE c.rule_key = deleted.rule_key
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
), closed AS (
    UPDATE zart.breakers b
    SET status = 'closed', closed_at = statement_timestamp(), generation = generation + 1,
        token_from = zart.last_token(),
        cooldowns = CASE $1::text WHEN 'breaker ' || breaker_id THEN cooldowns
        ELSE 0 END
    WHERE status <> 'closed' AND rule_key = ANY(ARRAY(SELECT rule_key FROM deleted))
    RETURNING breaker_id, rule_key
), closings AS (
    INSERT INTO zart.operations (kind, breaker_id, rule_id, task_name, triggered_by, principal,
            reason, request_id, incident)
    SELECT 'breaker_closed', closed.breaker_id, rule_id, COALESCE(task_name, ''), $1,
        $2, $5::text, $6::text,
        COALESCE(NULLIF($7::text, ''), deleted.incident)
    FROM closed JOIN deleted USING (rule_key)
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, breaker_id, expiry_rate, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = deleted.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 0) AS exempt, (
            SELECT drained_at FROM zart.pause_drains d
            WHERE d.rule_key = deleted.rule_key) AS drained_at, (
                SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                        z.expected_end_at, z.started_by, z.is_waiting)
                FROM zart.pause_releases z WHERE z.rule_key = deleted.rule_key
                    AND (z.ended_at IS NULL OR z.ended_at >= deleted.deleted_at)) AS release
FROM deleted
ORDER BY rule_key;
