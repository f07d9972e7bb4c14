-- store/pausing/drains.py: write_drained
-- Note that rules are drained of which nothing was seen to be in flight.
-- Locks: pause_drains, passing over locked rows.
-- Parameters: rule_keys=$1, undrained=$2.
WITH picked AS MATERIALIZED (
    SELECT d.* FROM unnest($1::bigint[], $2::integer[]) u(key, seen)
    CROSS JOIN LATERAL (
        SELECT rule_key, is_recorded FROM zart.pause_drains
        WHERE rule_key = u.key AND undrained = u.seen AND drained_at IS NULL
        FOR UPDATE SKIP LOCKED) d
    WHERE (SELECT deleted_at FROM zart.pause_rules r WHERE r.rule_key = d.rule_key) IS NULL
), drained AS (
    UPDATE zart.pause_drains SET drained_at = statement_timestamp(), is_recorded = true
    WHERE rule_key = ANY(ARRAY(SELECT rule_key FROM picked))
)
SELECT r.rule_id, r.execution_id, r.task_name, r.incident, NOT p.is_recorded
FROM picked p CROSS JOIN LATERAL (
    SELECT * FROM zart.pause_rules WHERE rule_key = p.rule_key OFFSET 0) r
ORDER BY p.rule_key;

-- store/pausing/drains.py: forget_drains
-- Drop what was awaited of rules that were deleted before they were drained.
-- Locks: pause_drains.
DELETE FROM zart.pause_drains WHERE rule_key = ANY($1::bigint[]) AND drained_at IS NULL;

-- store/pausing/drains.py: undrain
-- Note that rules let something go, or withhold again what may be in flight.
-- Locks: pause_drains.
UPDATE zart.pause_drains SET drained_at = NULL, undrained = undrained + 1
WHERE rule_key = ANY(ARRAY(
    SELECT rule_key FROM zart.pause_drains d WHERE rule_key = ANY($1::bigint[])
        AND (SELECT deleted_at FROM zart.pause_rules r WHERE r.rule_key = d.rule_key) IS NULL
    ORDER BY rule_key FOR UPDATE));
