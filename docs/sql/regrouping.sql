-- store/regrouping.py: has_regrouping_to_itself
-- Take the regrouping until the end of the transaction; False: another server has it.
-- Locks: nothing.
SELECT pg_try_advisory_xact_lock($1);

-- store/regrouping.py: find_live_kinds
-- Return kinds that steps are dead of, in the order of their keys, after one of these.
-- Locks: nothing.
-- Parameters: after=$1, most=$2.
WITH RECURSIVE live AS (
    (SELECT group_key FROM zart.dead_steps WHERE group_key > $1::bigint ORDER BY group_key LIMIT 1)
    UNION ALL
    SELECT (SELECT group_key FROM zart.dead_steps WHERE group_key > l.group_key ORDER BY group_key LIMIT 1)
    FROM live l
    WHERE l.group_key IS NOT NULL
)
SELECT g.group_key, g.task_name, g.step_name, g.error_group_id, g.type, g.template,
    g.former_id, g.former_template, g.first_seen FROM (
        SELECT group_key FROM live WHERE group_key IS NOT NULL LIMIT $2::bigint) l
CROSS JOIN LATERAL (
    SELECT * FROM zart.error_groups WHERE group_key = l.group_key OFFSET 0) g;

-- store/regrouping.py: find_kinds_with_former
-- Return kinds that have a former group, whether a step is dead of them or not.
-- Locks: nothing.
-- Parameters: most=$1.
SELECT g.group_key, g.task_name, g.step_name, g.error_group_id, g.type, g.template,
    g.former_id, g.former_template, g.first_seen FROM zart.error_groups g
WHERE former_id IS NOT NULL ORDER BY former_id, group_key LIMIT $1::bigint;

-- store/regrouping.py: find_dead_of
-- Return dead steps of some kinds; not those that others have locked.
-- Locks: dead_steps, passing over locked rows.
-- Parameters: group_keys=$1, most=$2.
SELECT d.run_key, d.step_no, d.group_key, d.died_at, s.error
FROM unnest($1::bigint[]) g(group_key) CROSS JOIN LATERAL (
    SELECT run_key, step_no, group_key, died_at FROM zart.dead_steps
    WHERE (group_key, listed_at, execution_key) >= (g.group_key, '-infinity', 0)
        AND (group_key, listed_at, execution_key) < (g.group_key, 'infinity', 0)
    ORDER BY group_key, listed_at, execution_key LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED) d
CROSS JOIN LATERAL (
    SELECT error FROM zart.steps WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s
LIMIT $2;

-- store/regrouping.py: move_dead
-- Have dead steps be of other kinds, as ``list_by_kinds`` does; return how many are.
-- Locks: nothing.
-- Parameters: kinds=$1, task_names=$2, step_names=$3, ids=$4, types=$5, templates=$6,
--   former_ids=$7, former_templates=$8, first_seen=$9.
INSERT INTO zart.error_groups AS g (group_key, task_name, step_name, error_group_id, type,
        template, former_id, former_template, first_seen)
SELECT * FROM unnest($1::text::bigint[], $2::text[], $3::text[],
        $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::timestamptz[]) u(group_key)
ORDER BY group_key
ON CONFLICT (group_key) DO UPDATE SET first_seen = excluded.first_seen
WHERE excluded.first_seen < g.first_seen;

-- store/regrouping.py: delete_kinds_with_former
-- Delete kinds that no step is of; return how many.
-- Locks: error_groups.
-- Parameters: group_keys=$1.
DELETE FROM zart.error_groups g USING unnest($1::bigint[]) u(group_key)
WHERE g.group_key = ANY(ARRAY[u.group_key]) AND former_id IS NOT NULL AND (
    SELECT true FROM zart.dead_steps WHERE group_key = u.group_key LIMIT 1) IS NULL;
