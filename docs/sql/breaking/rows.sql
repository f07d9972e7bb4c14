-- store/breaking/rows.py: find_breaker
-- Return a breaker by its id.
-- Locks: nothing.
SELECT b.*,
(SELECT rule_id FROM zart.pause_rules WHERE rule_key = b.rule_key) AS rule_id,
    CASE b.status WHEN 'open' THEN b.opened_at + b.cooldown * b.cooldowns END AS cooldown_ends_at,
    CASE b.status WHEN 'closed' THEN (
        SELECT sum(failed) FROM zart.breaker_counts c
        WHERE c.breaker_key = b.breaker_key
            AND c.generation = b.generation
            AND c.second > statement_timestamp() - b.counted_within - interval '1 second'
            AND c.second <= statement_timestamp() + interval '1 second')
    END AS failures_in_window FROM zart.breakers b WHERE breaker_id = $1;

-- store/breaking/rows.py: lock_breaker
-- Lock a breaker, and return it as it is then.
-- Locks: breakers.
SELECT FROM zart.breakers WHERE breaker_id = $1 FOR NO KEY UPDATE;

-- store/breaking/rows.py: list_breakers
-- List breakers, newest first.
-- Locks: nothing.
SELECT b.*,
(SELECT rule_id FROM zart.pause_rules WHERE rule_key = b.rule_key) AS rule_id,
    CASE b.status WHEN 'open' THEN b.opened_at + b.cooldown * b.cooldowns END AS cooldown_ends_at,
    CASE b.status WHEN 'closed' THEN (
        SELECT sum(failed) FROM zart.breaker_counts c
        WHERE c.breaker_key = b.breaker_key
            AND c.generation = b.generation
            AND c.second > statement_timestamp() - b.counted_within - interval '1 second'
            AND c.second <= statement_timestamp() + interval '1 second')
    END AS failures_in_window FROM zart.breakers b WHERE breaker_key < $1
ORDER BY breaker_key DESC LIMIT $2;

-- store/breaking/rows.py: insert_breaker
-- Insert a breaker, closed.
-- Locks: nothing.
-- Parameters: breaker_id=$1, task_name=$2, step_pattern=$3, failure_threshold=$4, window=$5,
--   min_failure_ratio=$6, error_group_id=$7, cooldown=$8, probe_steps=$9, rate_per_second=$10,
--   reason=$11, created_by=$12, principal=$13, incident=$14.
INSERT INTO zart.breakers (breaker_id, task_name, step_pattern, failure_threshold,
        counted_within, min_failure_ratio, error_group_id, cooldown, probe_steps, rate_per_second,
        token_from, reason, created_by, principal, incident)
VALUES ($1, $2, $3, $4, $5,
        $6, $7, $8, $9, $10,
        zart.last_token(), $11, $12, $13, $14);

-- store/breaking/rows.py: update_settings
-- Change the settings of a breaker that is locked; ``anew``: it counts from now on.
-- Locks: breakers.
-- Parameters: task_name=$1, step_pattern=$2, failure_threshold=$3, window=$4, min_failure_ratio=$5,
--   error_group_id=$6, cooldown=$7, probe_steps=$8, rate_per_second=$9, anew=$10, breaker_key=$11.
UPDATE zart.breakers SET task_name = $1, step_pattern = $2,
    failure_threshold = $3, counted_within = $4,
    min_failure_ratio = $5, error_group_id = $6,
    cooldown = $7, probe_steps = $8, rate_per_second = $9,
    updated_at = statement_timestamp(),
    generation = generation + $10::boolean::integer,
    token_from = CASE WHEN $10 THEN zart.last_token() ELSE token_from END,
    closed_at = CASE WHEN $10 THEN statement_timestamp() ELSE closed_at END,
    cooldowns = CASE WHEN $10 AND status = 'closed' AND (
            statement_timestamp() < closed_at + cooldown * cooldowns) IS NOT TRUE THEN 0
    ELSE cooldowns END
WHERE breaker_key = $11;

-- store/breaking/rows.py: drop_breaker
-- Delete a breaker that the caller has locked; its rules that stand become ordinary ones.
-- Locks: pause_rules.
WITH standing AS (
    UPDATE zart.pause_rules SET breaker_id = ''
    WHERE deleted_at IS NULL AND (breaker_id = $1 OR rule_key = $2)
    RETURNING rule_key, rule_id
)
SELECT rule_id FROM standing ORDER BY rule_key DESC LIMIT 1;

-- store/breaking/rows.py: drop_breaker
-- Delete a breaker that the caller has locked; its rules that stand become ordinary ones.
-- Locks: breakers.
DELETE FROM zart.breakers WHERE breaker_key = $1;

-- store/breaking/rows.py: drop_breaker
-- Delete a breaker that the caller has locked; its rules that stand become ordinary ones.
-- Locks: breaker_counts.
DELETE FROM zart.breaker_counts WHERE breaker_key = $1;

-- store/breaking/rows.py: record
-- Record what was done to a breaker, with a rule: by default its own, if it is not closed.
-- Locks: nothing.
-- Parameters: kind=$1, breaker_id=$2, rule_id=$3, task_name=$4, triggered_by=$5, principal=$6,
--   reason=$7, request_id=$8, incident=$9.
INSERT INTO zart.operations (kind, breaker_id, rule_id, task_name, triggered_by, principal,
        reason, request_id, incident)
VALUES ($1, $2, $3, $4, $5, $6,
        $7, $8, COALESCE(NULLIF($9::text, ''),
            (SELECT incident FROM zart.pause_rules WHERE rule_id = $3::text), ''));
