-- store/pausing/rules.py: share_pause_lock
-- Take the pause lock shared: no rule changes until this transaction ends.
-- Locks: pause lock.
SELECT pg_advisory_xact_lock_shared($1);

-- store/pausing/rules.py: insert_rule
-- Insert an active rule that is to be settled, and record the operation.
-- Locks: pause_epoch.
-- Parameters: rule_id=$1, execution_id=$2, task_name=$3, step_pattern=$4, step_regex=$5,
--   everything=$6, reason=$7, created_by=$8, principal=$9, incident=$10, expires_at=$11,
--   expires_in=$12, records=$13.
WITH rule AS (
    INSERT INTO zart.pause_rules (rule_id, execution_id, task_name, step_pattern,
            step_regex, everything, reason, created_by, principal, incident, expires_at,
            epoch, token_from)
    SELECT $1, $2, $3, $4,
        $5, $6, $7, $8, $9, $10,
        COALESCE($11::timestamptz, statement_timestamp() + $12::interval),
    (SELECT epoch + 1 FROM zart.pause_epoch), zart.last_token()
    WHERE $11::timestamptz IS NULL OR $11::timestamptz > statement_timestamp()
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'settle' FROM rule
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
), told AS (
    SELECT u.*
    FROM rule, json_to_recordset($13::text::json) u(execution_id text, run_number integer, step_name text, rule_id text, task_name text,
            triggered_by text, principal text, reason text, request_id text, incident text,
            replaced json, made json)
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, replaced, made)
    SELECT 'pause'::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, replaced, made
    FROM told
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = rule.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt FROM rule;

-- store/pausing/rules.py: active_rule_keys
-- Return active rules: the one named, or those whose fields equal every set field of scope.
-- Locks: nothing.
-- Parameters: rule_id=$1, execution_id=$2, task_name=$3, step_pattern=$4.
SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL
    AND ($1::text IS NULL OR rule_id = $1)
    AND ($2::text IS NULL OR execution_id = $2)
    AND ($3::text IS NULL OR task_name = $3)
    AND ($4::text IS NULL OR step_pattern = $4)
ORDER BY rule_key;

-- store/pausing/rules.py: find_rule
-- Return a rule by its id, deleted or not.
-- Locks: nothing.
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt FROM zart.pause_rules p WHERE rule_id = $1;

-- store/pausing/rules.py: delete_rules
-- Delete (softly) the rules that ``active_rule_keys`` finds; their steps are to be released.
-- Locks: pause_rules; pause_work; pause_epoch.
-- Parameters: deleted_by=$1, principal=$2, expired=$3, rule_id=$4, execution_id=$5, task_name=$6,
--   step_pattern=$7.
WITH deleted AS (
    UPDATE zart.pause_rules
    SET deleted_at = statement_timestamp(), deleted_by = $1,
        deleted_by_principal = $2, expired = $3,
        epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = zart.last_token()
    WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
        SELECT rule_key
        FROM zart.pause_rules
        WHERE deleted_at IS NULL
            AND (($4::text IS NULL OR rule_id = $4)
                    AND ($5::text IS NULL OR execution_id = $5)
                    AND ($6::text IS NULL OR task_name = $6)
                    AND ($7::text IS NULL OR step_pattern = $7))
        ORDER BY rule_key FOR NO KEY UPDATE))
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident
), undone AS (
    DELETE FROM zart.pause_work w USING deleted
    WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = deleted.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt FROM deleted ORDER BY rule_key;

-- store/pausing/rules.py: delete_expired
-- Delete rules that have expired by the database's clock, as ``delete_rules`` does.
-- Locks: pause_rules; pause_work; pause_epoch.
-- Parameters: deleted_by=$1, principal=$2, expired=$3.
WITH deleted AS (
    UPDATE zart.pause_rules
    SET deleted_at = statement_timestamp(), deleted_by = $1,
        deleted_by_principal = $2, expired = $3,
        epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = zart.last_token()
    WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
        SELECT rule_key
        FROM zart.pause_rules
        WHERE deleted_at IS NULL
            AND (expires_at <= statement_timestamp())
        ORDER BY rule_key FOR NO KEY UPDATE))
    RETURNING rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident
), undone AS (
    DELETE FROM zart.pause_work w USING deleted
    WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
), work AS (
    INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
), epoch AS (
    UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
)
SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
    created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
    expired, incident, ARRAY(
        SELECT x.execution_id FROM zart.pause_exemptions x
        WHERE x.rule_key = deleted.rule_key AND x.token_until IS NULL
        ORDER BY x.execution_id LIMIT 1000) AS exempt FROM deleted ORDER BY rule_key;

-- store/pausing/rules.py: pauses_due
-- Return the seconds until the next active rule expires, and whether pause work is left.
-- Locks: nothing.
SELECT EXTRACT(epoch FROM min(expires_at) - statement_timestamp())::float8, EXISTS (SELECT FROM zart.pause_work)
FROM zart.pause_rules
WHERE deleted_at IS NULL
    AND expires_at IS NOT NULL;
