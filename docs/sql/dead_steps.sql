-- store/dead_steps.py: record_deaths
-- Count and list steps that died in this transaction, which has locked their runs.
-- Locks: runs, which the caller has locked.
-- Parameters: run_keys=$1, step_nos=$2, group_keys=$3, kinds=$4, ids=$5, task_names=$6,
--   step_names=$7, types=$8, templates=$9.
WITH died AS MATERIALIZED (
    SELECT u.run_key, u.step_no, u.group_key, s.completed_at AS died_at
    FROM unnest($1::text::bigint[], $2::text::integer[],
            $3::text::bigint[]) u(run_key, step_no, group_key)
    CROSS JOIN LATERAL (
        SELECT completed_at FROM zart.steps
        WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
), counted AS (
    UPDATE zart.runs r SET dead_steps = r.dead_steps + u.n, dead_listed = r.dead_listed + u.n
    FROM (SELECT run_key, count(*)::integer AS n FROM died GROUP BY run_key) u
    WHERE r.run_key = ANY(ARRAY[u.run_key])
), listed AS (
    INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
    SELECT d.run_key, d.step_no, r.execution_key, d.group_key, r.listed_at, d.died_at
    FROM died d CROSS JOIN LATERAL (
        SELECT execution_key, listed_at FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
), kinds AS (
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template,
            first_seen)
    SELECT group_key, id, task_name, step_name, type, template, (ARRAY(SELECT min(died_at) FROM died GROUP BY group_key ORDER BY group_key))[n::integer]
    FROM unnest($4::text::bigint[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[])
    WITH ORDINALITY u(group_key, id, task_name, step_name, type, template, n)
    ORDER BY group_key
    ON CONFLICT (group_key) DO NOTHING
)
SELECT;

-- store/dead_steps.py: has_untold
-- Return whether there is a dead step of which nobody has told the kind of its error.
-- Locks: nothing.
SELECT true
FROM zart.dead_steps
WHERE group_key IS NULL
    AND step_no >= 0
ORDER BY step_no LIMIT 1;

-- store/dead_steps.py: find_untold
-- Return dead steps of which nobody has told the kind of their error.
-- Locks: dead_steps, passing over locked rows.
-- Parameters: most=$1.
SELECT d.run_key, d.step_no, r.definition_key, d.died_at, s.error FROM (
    SELECT run_key, step_no, died_at FROM zart.dead_steps
    WHERE group_key IS NULL AND step_no >= 0 ORDER BY step_no LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED) d
CROSS JOIN LATERAL (
    SELECT definition_key FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT error FROM zart.steps WHERE run_key = d.run_key AND step_no = d.step_no OFFSET 0) s;

-- store/dead_steps.py: tell_kinds
-- Have dead steps be of these kinds, which need not be there, as ``list_by_kinds`` does.
-- Locks: nothing.
-- Parameters: first_seen=$1, kinds=$2, ids=$3, task_names=$4, step_names=$5, types=$6,
--   templates=$7.
INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template,
        first_seen)
SELECT group_key, id, task_name, step_name, type, template, ($1::timestamptz[])[n::integer]
FROM unnest($2::text::bigint[], $3::text[], $4::text[], $5::text[],
        $6::text[], $7::text[])
WITH ORDINALITY u(group_key, id, task_name, step_name, type, template, n)
ORDER BY group_key
ON CONFLICT (group_key) DO NOTHING;

-- store/dead_steps.py: list_by_kinds
-- Have dead steps be of these kinds, if they still are as they were; return how many are.
-- Locks: dead_steps, passing over locked rows.
-- Parameters: run_keys=$1, step_nos=$2, group_keys=$3, died_at=$4, to_keys=$5.
WITH unlocked AS MATERIALIZED (
    SELECT d.run_key, d.step_no, u.to_key
    FROM unnest($1::text::bigint[], $2::text::integer[],
            $3::text::bigint[], $4::timestamptz[],
            $5::text::bigint[]) u(run_key, step_no, group_key, died_at, to_key)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.dead_steps x
        WHERE x.run_key = ANY(ARRAY[u.run_key]) AND x.step_no = u.step_no
            AND COALESCE(x.group_key, -1) = u.group_key AND x.died_at = u.died_at
        FOR UPDATE SKIP LOCKED) d
)
UPDATE zart.dead_steps d SET group_key = u.to_key FROM unlocked u
WHERE d.run_key = ANY(ARRAY[u.run_key]) AND d.step_no = u.step_no;
