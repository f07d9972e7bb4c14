-- store/pausing/work.py: pause_work
-- Return the pause work left, oldest rule first: (rule key, 'settle' or 'release').
-- Locks: nothing.
SELECT rule_key, work FROM zart.pause_work ORDER BY rule_key LIMIT 1000;

-- store/pausing/work.py: end_settling
-- Note that a rule is settled, unless it was deleted meanwhile.
-- Locks: pause_work.
DELETE FROM zart.pause_work WHERE rule_key = $1 AND work = 'settle';

-- store/pausing/work.py: end_releases
-- Note which deleted rules have no paused steps left; they will have none again.
-- Locks: nothing.
DELETE
FROM zart.pause_work w
WHERE work = 'release'
    AND (SELECT rule_key FROM zart.held h WHERE h.rule_key = w.rule_key ORDER BY not_before, queue_no LIMIT 1) IS NULL;

-- store/pausing/work.py: has_rule_to_itself
-- Return whether this is the only transaction that moves steps for a rule; lock that if so.
-- Locks: nothing.
SELECT pg_try_advisory_xact_lock($1, $2);
