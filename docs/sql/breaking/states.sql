-- store/breaking/states.py: open_breaker (open)
-- Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.
-- Locks: breakers.
-- Parameters: rule_id=$1, error=$2, breaker_key=$3.
UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
    rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1),
    trip_count = trip_count + 1, last_error = $2,
    cooldowns = CASE
    WHEN opened_at IS NULL OR cooldown IS NULL
    OR statement_timestamp() >= closed_at + cooldown * cooldowns THEN 1
    ELSE LEAST(GREATEST(cooldowns * 2, 1), 10) END
WHERE breaker_key = $3;

-- store/breaking/states.py: open_breaker (carry)
-- Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.
-- Locks: nothing.
-- Parameters: rule_id=$1, before=$2.
INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
SELECT (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1), execution_id,
    zart.last_token()
FROM zart.pause_exemptions WHERE rule_key = $2 AND token_until IS NULL;

-- store/breaking/states.py: find_due
-- Return the breakers whose steps are to try, or try; locks nothing.
-- Locks: nothing.
SELECT breaker_id, status, (b.status = 'half_open' AND b.half_open_at > statement_timestamp()),
    EXISTS (
        SELECT FROM zart.held
        WHERE (rule_key, not_before, queue_no) > (b.rule_key, '-infinity'::timestamptz, -1)
            AND (rule_key, not_before) <= (b.rule_key, statement_timestamp()))
FROM zart.breakers b WHERE status <> 'closed' AND (status = 'half_open' OR (b.status = 'open'
        AND b.opened_at + b.cooldown * b.cooldowns <= statement_timestamp())) AND NOT EXISTS (
            SELECT FROM zart.pause_releases z
            WHERE z.rule_key = b.rule_key AND z.ended_at IS NULL OFFSET 0) ORDER BY breaker_key;

-- store/breaking/states.py: is_to_try
-- Return whether ``half_open`` would have the steps of a breaker try; locks nothing.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.breakers b WHERE breaker_id = $1 AND ((b.status = 'open'
        AND b.opened_at + b.cooldown * b.cooldowns <= statement_timestamp()) OR (b.status = 'half_open'
                AND b.half_open_at > statement_timestamp()))
        AND NOT EXISTS (
            SELECT FROM zart.pause_releases z
            WHERE z.rule_key = b.rule_key AND z.ended_at IS NULL OFFSET 0));

-- store/breaking/states.py: half_open
-- Have the steps of an open breaker try, if it is time; return whether it is.
-- Locks: breakers.
UPDATE zart.breakers b
SET status = 'half_open', half_open_at = statement_timestamp()
WHERE breaker_key = $1
    AND ((b.status = 'open'
            AND b.opened_at + b.cooldown * b.cooldowns <= statement_timestamp()) OR (b.status = 'half_open'
                    AND b.half_open_at > statement_timestamp()))
    AND NOT EXISTS (
        SELECT FROM zart.pause_releases z
        WHERE z.rule_key = b.rule_key AND z.ended_at IS NULL OFFSET 0);

-- store/breaking/states.py: reopen
-- Open a breaker again that is not closed, for so many ``times`` as long.
-- Locks: breakers.
-- Parameters: error=$1, times=$2, breaker_key=$3, since=$4.
UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
    last_error = COALESCE($1, last_error),
    cooldowns = LEAST(GREATEST(cooldowns, 1) * $2::integer, 10)
WHERE breaker_key = $3 AND status <> 'closed'
    AND half_open_at IS NOT DISTINCT FROM $4;

-- store/breaking/states.py: close_before_its_rule
-- Close a breaker whose rule goes on, since it ends at a pace, as an ordinary one from now on.
-- Locks: pause_rules; breakers.
-- Parameters: breaker_key=$1, deleted_by=$2.
WITH ordinary AS (
    UPDATE zart.pause_rules SET breaker_id = ''
    WHERE rule_key = (SELECT rule_key FROM zart.breakers WHERE breaker_key = $1)
)
UPDATE zart.breakers
SET status = 'closed', closed_at = statement_timestamp(), generation = generation + 1,
    token_from = zart.last_token(),
    cooldowns = CASE $2::text WHEN 'breaker ' || breaker_id THEN cooldowns
    ELSE 0 END WHERE breaker_key = $1;
