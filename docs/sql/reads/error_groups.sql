-- store/reads/error_groups.py: _with_details (details by time)
-- Add when errors of the groups were seen, and some executions.
-- Locks: nothing.
-- Parameters: died_from=$1, died_before=$2, group_keys=$3.
SELECT LEAST(e.first_seen, t.died_at), t.died_at, ARRAY(
    SELECT execution_key FROM zart.dead_steps WHERE
        (group_key + 0, died_at) >= (g.group_key, $1::timestamptz)
        AND (group_key + 0, died_at) < (g.group_key, $2::timestamptz)
    ORDER BY group_key + 0 DESC, died_at DESC LIMIT 20)
FROM unnest($3::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
    SELECT first_seen FROM zart.error_groups WHERE group_key = g.group_key OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT died_at FROM zart.dead_steps
    WHERE (group_key + 0, died_at) <= (g.group_key, 'infinity')
        AND (group_key + 0, died_at) >= (g.group_key, '-infinity')
    ORDER BY group_key + 0 DESC, died_at DESC LIMIT 1) t
ORDER BY g.n;

-- store/reads/error_groups.py: _with_details (details in order)
-- Add when errors of the groups were seen, and some executions.
-- Locks: nothing.
-- Parameters: before=$1, before_key=$2, created_from=$3, group_keys=$4.
SELECT LEAST(e.first_seen, t.died_at), t.died_at, ARRAY(
    SELECT execution_key FROM zart.dead_steps WHERE
        (group_key, listed_at, execution_key)
        < (g.group_key, $1::timestamptz, $2::bigint)
        AND (group_key, listed_at, execution_key) >= (g.group_key, $3::timestamptz, 0)
    ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT 20)
FROM unnest($4::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
    SELECT first_seen FROM zart.error_groups WHERE group_key = g.group_key OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT died_at FROM zart.dead_steps
    WHERE (group_key + 0, died_at) <= (g.group_key, 'infinity')
        AND (group_key + 0, died_at) >= (g.group_key, '-infinity')
    ORDER BY group_key + 0 DESC, died_at DESC LIMIT 1) t
ORDER BY g.n;

-- store/reads/error_groups.py: _execution_ids
-- Return the ids of executions by their keys.
-- Locks: nothing.
SELECT e.execution_key, e.execution_id
FROM unnest($1::bigint[]) u(execution_key)
CROSS JOIN LATERAL (SELECT execution_key, execution_id FROM zart.executions WHERE execution_key = u.execution_key OFFSET 0) e;
