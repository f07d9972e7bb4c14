-- store/reads/dead_groups.py: expect_group
-- Raise ErrorGroupNotFound unless an error of the group was ever seen.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.error_groups WHERE error_group_id = $1);

-- store/reads/dead_groups.py: find_groups (groups of id)
-- Return the groups with dead steps that a filter asks for, ``most`` at most.
-- Locks: nothing.
-- Parameters: step_regex=$1, task_name=$2, error_group_id=$3, looked_at=$4, most=$5.
WITH RECURSIVE kinds AS MATERIALIZED ((
    SELECT group_key, CASE WHEN $1::text = '' THEN true ELSE e.step_name ~ $1 END
        AND ($2::text = '' OR e.task_name = $2)
        AND ($3::text = ''
                OR $3 IN (e.error_group_id, e.former_id)) AS fits
    FROM zart.error_groups e
    WHERE error_group_id IS NOT NULL AND (error_group_id, group_key) >= ($3::text, 0)
        AND (error_group_id, group_key) <= ($3, 9223372036854775807)
    ORDER BY error_group_id, group_key LIMIT $4::bigint
) UNION ALL (
    SELECT group_key, CASE WHEN $1::text = '' THEN true ELSE e.step_name ~ $1 END
        AND ($2::text = '' OR e.task_name = $2)
        AND ($3::text = ''
                OR $3 IN (e.error_group_id, e.former_id)) AS fits
    FROM zart.error_groups e
    WHERE former_id IS NOT NULL AND (former_id, group_key) >= ($3::text, 0)
        AND (former_id, group_key) <= ($3, 9223372036854775807)
    ORDER BY former_id, group_key LIMIT $4::bigint
))
SELECT * FROM (
    (SELECT g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
            g.former_id, g.former_template
        FROM (
            SELECT group_key
            FROM kinds k
            WHERE fits
                AND EXISTS (SELECT FROM zart.dead_steps WHERE group_key = k.group_key OFFSET 0) LIMIT $5::bigint) k
        CROSS JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = k.group_key OFFSET 0) g)
    UNION ALL
    SELECT count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kinds) f
LIMIT $5;

-- store/reads/dead_groups.py: find_groups (groups of all)
-- Return the groups with dead steps that a filter asks for, ``most`` at most.
-- Locks: nothing.
-- Parameters: step_regex=$1, task_name=$2, error_group_id=$3, looked_at=$4, most=$5.
WITH RECURSIVE live AS (
    (SELECT group_key FROM zart.dead_steps WHERE group_key > -1 ORDER BY group_key LIMIT 1)
    UNION ALL
    SELECT (SELECT group_key FROM zart.dead_steps WHERE group_key > l.group_key ORDER BY group_key LIMIT 1)
    FROM live l
    WHERE l.group_key IS NOT NULL
), kinds AS MATERIALIZED (
    SELECT group_key, CASE WHEN $1::text = '' THEN true ELSE e.step_name ~ $1 END
        AND ($2::text = '' OR e.task_name = $2)
        AND ($3::text = ''
                OR $3 IN (e.error_group_id, e.former_id)) AS fits
    FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT $4::bigint) l
    CROSS JOIN LATERAL (
        SELECT error_group_id, former_id, task_name, step_name FROM zart.error_groups
        WHERE group_key = l.group_key OFFSET 0) e
)
SELECT * FROM (
    (SELECT g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
            g.former_id, g.former_template
        FROM (
            SELECT group_key FROM kinds k WHERE fits LIMIT $5::bigint) k
        CROSS JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = k.group_key OFFSET 0) g)
    UNION ALL
    SELECT count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kinds) f
LIMIT $5;

-- store/reads/dead_groups.py: find_groups (groups of task)
-- Return the groups with dead steps that a filter asks for, ``most`` at most.
-- Locks: nothing.
-- Parameters: step_regex=$1, task_name=$2, error_group_id=$3, looked_at=$4, most=$5.
WITH RECURSIVE kinds AS MATERIALIZED (
    SELECT group_key, CASE WHEN $1::text = '' THEN true ELSE e.step_name ~ $1 END
        AND ($2::text = '' OR e.task_name = $2)
        AND ($3::text = ''
                OR $3 IN (e.error_group_id, e.former_id)) AS fits
    FROM zart.error_groups e
    WHERE task_name IS NOT NULL AND (task_name, group_key) >= ($2::text, 0)
        AND (task_name, group_key) <= ($2, 9223372036854775807)
    ORDER BY task_name, group_key LIMIT $4::bigint
)
SELECT * FROM (
    (SELECT g.group_key, g.error_group_id, g.task_name, g.step_name, g.type, g.template,
            g.former_id, g.former_template
        FROM (
            SELECT group_key
            FROM kinds k
            WHERE fits
                AND EXISTS (SELECT FROM zart.dead_steps WHERE group_key = k.group_key OFFSET 0) LIMIT $5::bigint) k
        CROSS JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = k.group_key OFFSET 0) g)
    UNION ALL
    SELECT count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kinds) f
LIMIT $5;

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
