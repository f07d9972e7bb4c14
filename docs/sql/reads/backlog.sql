-- store/reads/backlog.py: read_parts
-- Return what part of each table may be read in little time.
-- Locks: nothing.
SELECT statement_timestamp(), pg_relation_size('zart.queue')::float8 / current_setting('block_size')::float8, pg_relation_size('zart.held')::float8 / current_setting('block_size')::float8, pg_relation_size('zart.leases')::float8 / current_setting('block_size')::float8, pg_relation_size('zart.dead_steps')::float8 / current_setting('block_size')::float8;

-- store/reads/backlog.py: estimate_queued
-- Return about how many tasks are queued by lane, judging by a part of the queue.
-- Locks: nothing.
-- Parameters: percent=$1.
SELECT lane, count(*) FROM zart.queue
    TABLESAMPLE SYSTEM ($1::real) REPEATABLE (0)
GROUP BY lane;

-- store/reads/backlog.py: estimate_leased
-- Return about how many tasks are leased by lane, judging by a part of the leases.
-- Locks: nothing.
-- Parameters: percent=$1.
SELECT lane, count(*) FROM zart.leases
    TABLESAMPLE SYSTEM ($1::real) REPEATABLE (0)
GROUP BY lane;

-- store/reads/backlog.py: estimate_paused (rules with paused)
-- Return about how many tasks are paused by lane, and by rule, judging by a part of them.
-- Locks: nothing.
-- Parameters: rule_keys=$1.
SELECT u.rule_key FROM unnest($1::bigint[]) u(rule_key) CROSS JOIN LATERAL (
    SELECT FROM zart.held WHERE rule_key = u.rule_key
    ORDER BY rule_key DESC, not_before DESC, queue_no DESC LIMIT 1) h;

-- store/reads/backlog.py: estimate_paused (paused)
-- Return about how many tasks are paused by lane, and by rule, judging by a part of them.
-- Locks: nothing.
-- Parameters: percent=$1.
SELECT lane, rule_key, count(*) FROM zart.held
    TABLESAMPLE SYSTEM ($1::real) REPEATABLE (0)
GROUP BY GROUPING SETS ((lane), (rule_key));

-- store/reads/backlog.py: estimate_dead (dead)
-- Return about how many steps are dead by task, judging by a part of them.
-- Locks: nothing.
-- Parameters: percent=$1.
SELECT r.listed_task, count(*), COALESCE(
        sum(1.0 / GREATEST(r.dead_listed, 1)) FILTER (WHERE r.status = 'failed'), 0)::float8
FROM (
    SELECT run_key FROM zart.dead_steps
        TABLESAMPLE SYSTEM ($1::real) REPEATABLE (0)) d
CROSS JOIN LATERAL (
    SELECT listed_task, status, dead_listed FROM zart.runs
    WHERE run_key = d.run_key OFFSET 0) r
GROUP BY r.listed_task;

-- store/reads/backlog.py: estimate_dead (tasks with dead)
-- Return about how many steps are dead by task, judging by a part of them.
-- Locks: nothing.
-- Parameters: most=$1.
WITH RECURSIVE found(listed_task, status) AS (
    SELECT ''::text COLLATE "C", ''::text
    UNION ALL
    SELECT r.* FROM found f CROSS JOIN LATERAL (
        SELECT listed_task, status FROM zart.runs
        WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
            AND (listed_task, status) > (f.listed_task, f.status)
        ORDER BY listed_task, status, listed_at, execution_key LIMIT 1) r
)
SELECT listed_task, bool_or(status = 'failed') FROM (
    SELECT * FROM found LIMIT 1 + $1::bigint) f
WHERE listed_task <> ''
GROUP BY listed_task;
