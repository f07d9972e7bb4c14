-- store/reads/error_groups.py: _count (count by time)
-- Count the dead steps of groups that a filter matches, or look at some of each.
-- Locks: nothing.
-- Parameters: group_keys=$1, died_from=$2, died_before=$3, most=$4.
SELECT c.n FROM unnest($1::bigint[]) WITH ORDINALITY g(group_key, n)
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
    SELECT FROM zart.dead_steps WHERE
        (group_key + 0, died_at) >= (g.group_key, $2::timestamptz)
        AND (group_key + 0, died_at) < (g.group_key, $3::timestamptz)
    LIMIT $4::bigint) d) c
ORDER BY g.n;

-- store/reads/error_groups.py: _count (count in order)
-- Count the dead steps of groups that a filter matches, or look at some of each.
-- Locks: nothing.
-- Parameters: group_keys=$1, before=$2, before_key=$3, created_from=$4, most=$5.
SELECT c.n FROM unnest($1::bigint[]) WITH ORDINALITY g(group_key, n)
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
    SELECT FROM zart.dead_steps WHERE
        (group_key, listed_at, execution_key)
        < (g.group_key, $2::timestamptz, $3::bigint)
        AND (group_key, listed_at, execution_key) >= (g.group_key, $4::timestamptz, 0)
    LIMIT $5::bigint) d) c
ORDER BY g.n;

-- store/reads/error_groups.py: _count (look)
-- Count the dead steps of groups that a filter matches, or look at some of each.
-- Locks: nothing.
-- Parameters: statuses=$1, group_keys=$2, before=$3, before_key=$4, created_from=$5, most=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, died_from=$10, died_before=$11, error_group_id=$12,
--   step_regex=$13, contains=$14.
WITH candidates AS MATERIALIZED (
    SELECT g.n, d.*, r.listed_task, r.status = ANY($1::text[]) AS is_wanted
    FROM unnest($2::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, step_no FROM zart.dead_steps
        WHERE
            (group_key, listed_at, execution_key)
            < (g.group_key, $3::timestamptz, $4::bigint)
            AND (group_key, listed_at, execution_key) >= (g.group_key, $5::timestamptz, 0)
        ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) d
    CROSS JOIN LATERAL (
        SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
), looked AS MATERIALIZED (
    SELECT c.*, is_wanted AND CASE WHEN $7::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, $7) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
        AND CASE WHEN $8::text = '' THEN true ELSE (
            SELECT o.triggered_by = $8 FROM zart.runs o
            WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
        AND CASE WHEN $9::text = '' THEN true ELSE EXISTS (
            SELECT FROM zart.batch_items i
            WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $9)
                AND i.execution_key = c.execution_key OFFSET 0) END
        AND EXISTS (SELECT FROM
            (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
            LEFT JOIN LATERAL (
                SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
            WHERE x.died_at >= $10::timestamptz AND x.died_at < $11::timestamptz
                AND CASE WHEN $12::text = '' THEN true
                ELSE g.error_group_id = $12 END
                AND CASE WHEN $13::text = '' THEN true ELSE g.step_name ~ $13 END
                AND CASE WHEN $14::text = '' THEN true ELSE (
                    SELECT position($14 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                    FROM zart.steps s
                    WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
                AND x.step_no = c.step_no) AS fits
    FROM candidates c
)
SELECT n, count(*), count(*) FILTER (WHERE fits),
    (array_agg(execution_key ORDER BY listed_at DESC, execution_key DESC)
            FILTER (WHERE fits))[1:5]
FROM looked GROUP BY n;

-- store/reads/error_groups.py: _with_details (details by time)
-- Add when errors of the groups were seen, and some executions.
-- Locks: nothing.
-- Parameters: died_from=$1, died_before=$2, group_keys=$3.
SELECT e.first_seen, t.died_at, ARRAY(
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
SELECT e.first_seen, t.died_at, ARRAY(
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
