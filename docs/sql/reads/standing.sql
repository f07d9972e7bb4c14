-- store/reads/standing.py: read_lanes
-- Return the lanes with numbers beyond ``after``, in their order: none ever changes.
-- Locks: nothing.
SELECT lane, task_name, handler FROM zart.lanes WHERE lane > $1 ORDER BY lane LIMIT $2;

-- store/reads/standing.py: read_named_lanes
-- Return the lanes that have these numbers.
-- Locks: nothing.
SELECT lane, task_name, handler FROM zart.lanes WHERE lane = ANY($1::int[]);

-- store/reads/standing.py: read_standing_rules
-- Return the rules that stand, oldest first.
-- Locks: nothing.
-- Parameters: most=$1.
SELECT p.rule_key, p.rule_id, EXISTS (
    SELECT FROM zart.pause_work w WHERE w.rule_key = p.rule_key AND w.work = 'settle'),
    r.rate_per_second, r.released_steps
FROM zart.pause_rules p LEFT JOIN zart.pause_releases r
ON r.rule_key = p.rule_key AND r.ended_at IS NULL
WHERE (p.deleted_at IS NULL) = true
ORDER BY p.rule_key LIMIT $1;

-- store/reads/standing.py: read_oldest_ended
-- Return the seconds since the first rule ended of which steps are still to be moved back.
-- Locks: nothing.
-- Parameters: most=$1.
SELECT EXTRACT(epoch FROM statement_timestamp() - min(p.deleted_at))::float8
FROM (SELECT rule_key FROM zart.pause_work WHERE work = 'release' AND execution_id = ''
    ORDER BY rule_key LIMIT $1) w
CROSS JOIN LATERAL (
    SELECT deleted_at FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) p;

-- store/reads/standing.py: count_breakers
-- Return how many breakers there are, by task and state.
-- Locks: nothing.
SELECT task_name, status, count(*) FROM zart.breakers GROUP BY task_name, status;

-- store/reads/standing.py: read_standing_batches
-- Return the batches that are not over, newest first.
-- Locks: nothing.
-- Parameters: most=$1.
SELECT batch_id, selected, done, refused, rate_per_second FROM zart.batches
WHERE status = ANY('{preparing,running,paused}'::text[])
ORDER BY batch_key DESC LIMIT $1;

-- store/reads/standing.py: count_in_doubt
-- Return how many attempts are in doubt, by task.
-- Locks: nothing.
-- Parameters: last=$1, most=$2.
WITH RECURSIVE found(task_name) AS (
    SELECT ''::text COLLATE "C"
    UNION ALL
    SELECT t.task_name FROM found f CROSS JOIN LATERAL (
        SELECT task_name FROM zart.in_doubt WHERE resolved_at IS NULL
            AND (task_name, in_doubt_key) > (f.task_name, $1::bigint)
        ORDER BY task_name, in_doubt_key LIMIT 1) t
)
SELECT task_name FROM found WHERE task_name <> '' LIMIT $2::bigint;

-- store/reads/standing.py: count_in_doubt
-- Return how many attempts are in doubt, by task.
-- Locks: nothing.
SELECT task_name, count(*) FROM (
    SELECT task_name FROM zart.in_doubt WHERE resolved_at IS NULL LIMIT $1) d
GROUP BY task_name;
