-- store/breaking/states.py: open_breaker (open)
-- Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.
-- Locks: breakers.
-- Parameters: rule_id=$1, error=$2, breaker_key=$3.
UPDATE zart.breakers SET status = 'open', opened_at = statement_timestamp(),
    rule_key = (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1),
    trip_count = trip_count + 1, last_error = $2
WHERE breaker_key = $3;

-- store/breaking/states.py: open_breaker (carry)
-- Open a closed breaker, whose rule ``rule_id`` is; it exempts what the one ``before`` did.
-- Locks: nothing.
-- Parameters: rule_id=$1, before=$2.
INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
SELECT (SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1), execution_id,
    zart.last_token()
FROM zart.pause_exemptions WHERE rule_key = $2 AND token_until IS NULL;
