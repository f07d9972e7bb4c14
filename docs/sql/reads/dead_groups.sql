-- store/reads/dead_groups.py: expect_group
-- Raise ErrorGroupNotFound unless an error of the group was ever seen.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.error_groups WHERE error_group_id = $1);

-- store/reads/dead_groups.py: find_groups (of all)
-- Return the groups with dead steps that a filter asks for; None: more than ``most`` have.
-- Locks: nothing.
-- Parameters: step_regex=$1, task_name=$2, most=$3.
WITH RECURSIVE live AS (
    (SELECT group_key FROM zart.dead_steps WHERE group_key > -1 ORDER BY group_key LIMIT 1)
    UNION ALL
    SELECT (SELECT group_key FROM zart.dead_steps WHERE group_key > l.group_key ORDER BY group_key LIMIT 1)
    FROM live l
    WHERE l.group_key IS NOT NULL
)
SELECT g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
    g.former_id, g.former_template, CASE WHEN $1::text = '' THEN true ELSE g.step_name ~ $1 END
    AND ($2::text = '' OR g.task_name = $2) AS fits FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT $3::bigint) l
CROSS JOIN LATERAL (
    SELECT * FROM zart.error_groups WHERE group_key = l.group_key OFFSET 0) g;

-- store/reads/dead_groups.py: find_groups (of id)
-- Return the groups with dead steps that a filter asks for; None: more than ``most`` have.
-- Locks: nothing.
-- Parameters: error_group_id=$1, most=$2, step_regex=$3, task_name=$4.
SELECT g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
    g.former_id, g.former_template FROM (
        (SELECT * FROM zart.error_groups e WHERE error_group_id = $1::text AND EXISTS (
            SELECT FROM zart.dead_steps WHERE group_key = e.group_key OFFSET 0)
            ORDER BY group_key LIMIT $2::bigint) UNION ALL (SELECT *
                FROM zart.error_groups e
                WHERE former_id = $1::text
                    AND EXISTS (
                        SELECT FROM zart.dead_steps WHERE group_key = e.group_key OFFSET 0)
                ORDER BY group_key LIMIT $2::bigint)) g
WHERE CASE WHEN $3::text = '' THEN true ELSE g.step_name ~ $3 END
    AND ($4::text = '' OR g.task_name = $4);

-- store/reads/dead_groups.py: runs_that_died_between
-- Return the runs in which steps died of these groups at the time; None: of too many steps.
-- Locks: nothing.
-- Parameters: group_keys=$1, died_from=$2, died_before=$3, most=$4.
SELECT d.run_key FROM unnest($1::bigint[]) g(group_key) CROSS JOIN LATERAL (
    SELECT run_key FROM zart.dead_steps
    WHERE (group_key + 0, died_at) >= (g.group_key, $2::timestamptz)
        AND (group_key + 0, died_at) < (g.group_key, $3::timestamptz)
    ORDER BY group_key + 0, died_at LIMIT $4::bigint) d
LIMIT $4;

-- store/reads/dead_groups.py: count_died_between
-- Count the steps that died of these groups at the time, ``most`` at most.
-- Locks: nothing.
-- Parameters: group_keys=$1, died_from=$2, died_before=$3, most=$4.
SELECT count(*) FROM (
    SELECT FROM unnest($1::bigint[]) g(group_key) CROSS JOIN LATERAL (
        SELECT FROM zart.dead_steps
        WHERE (group_key + 0, died_at) >= (g.group_key, $2::timestamptz)
            AND (group_key + 0, died_at) < (g.group_key, $3::timestamptz)
        ORDER BY group_key + 0, died_at LIMIT $4::bigint) d
    LIMIT $4) d;

-- store/reads/dead_groups.py: count_dead
-- Count the dead steps of groups in a range of executions, ``most`` at most.
-- Locks: nothing.
-- Parameters: group_keys=$1, before=$2, before_key=$3, created_from=$4, most=$5.
SELECT count(*) FROM (
    SELECT FROM unnest($1::bigint[]) g(group_key) CROSS JOIN LATERAL (
        SELECT FROM zart.dead_steps
        WHERE (group_key, listed_at, execution_key)
            < (g.group_key, $2::timestamptz, $3::bigint)
            AND (group_key, listed_at, execution_key)
            >= (g.group_key, $4::timestamptz, 0)
        LIMIT $5::bigint) d
    LIMIT $5) d;
