-- store/reads/group_counts.py: count_groups
-- Count the dead steps of groups that a filter matches.
-- Locks: nothing.
-- Parameters: before=$1, before_key=$2, created_from=$3, died_from=$4, died_before=$5.
SELECT group_key, count(*) FILTER (WHERE
        (listed_at, execution_key) < ($1::timestamptz, $2::bigint)
        AND listed_at >= $3::timestamptz
        AND died_at >= $4::timestamptz AND died_at < $5::timestamptz)
FROM (
    SELECT group_key, listed_at, execution_key, died_at FROM zart.dead_steps
    WHERE ctid < '(3000,0)'::tid OFFSET 0) d
GROUP BY group_key;

-- store/reads/group_counts.py: count_groups
-- Count the dead steps of groups that a filter matches.
-- Locks: nothing.
SELECT pg_relation_size('zart.dead_steps')
    <= 3000 * current_setting('block_size')::bigint;

-- store/reads/group_counts.py: _counted (count by time)
-- Count by an index, up to so many of each group.
-- Locks: nothing.
-- Parameters: group_keys=$1, died_from=$2, died_before=$3, most=$4.
SELECT c.n FROM unnest($1::bigint[]) WITH ORDINALITY g(group_key, n)
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
    SELECT FROM zart.dead_steps WHERE
        (group_key + 0, died_at) >= (g.group_key, $2::timestamptz)
        AND (group_key + 0, died_at) < (g.group_key, $3::timestamptz)
    LIMIT $4::bigint) d) c
ORDER BY g.n;

-- store/reads/group_counts.py: _counted (count in order)
-- Count by an index, up to so many of each group.
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

-- store/reads/group_counts.py: _looked_at (look at newest)
-- Look at the dead steps of some runs; None: at the newest ``most`` of each group.
-- Locks: nothing.
-- Parameters: statuses=$1, died_from=$2, died_before=$3, group_keys=$4, before=$5, before_key=$6,
--   created_from=$7, most=$8, id_prefix=$9, triggered_by=$10, batch_id=$11, contains=$12.
WITH  candidates AS MATERIALIZED (
    SELECT d.*, r.listed_task,
        CASE WHEN r.status = ANY($1::text[]) THEN
        d.died_at >= $2::timestamptz AND d.died_at < $3::timestamptz
        ELSE false END AS is_wanted
    FROM
        unnest($4::bigint[]) g(group_key) CROSS JOIN LATERAL (
            SELECT group_key, listed_at, execution_key, run_key, step_no, died_at FROM zart.dead_steps WHERE
                (group_key, listed_at, execution_key)
                < (g.group_key, $5::timestamptz, $6::bigint)
                AND (group_key, listed_at, execution_key) >= (g.group_key, $7::timestamptz, 0)
            ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT $8::bigint) d
    CROSS JOIN LATERAL (
        SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
), looked AS MATERIALIZED (
    SELECT c.*, CASE WHEN is_wanted THEN CASE WHEN $9::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, $9) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
        AND CASE WHEN $10::text = '' THEN true ELSE (
            SELECT o.triggered_by = $10 FROM zart.runs o
            WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
        AND CASE WHEN $11::text = '' THEN true ELSE EXISTS (
            SELECT FROM zart.batch_items i
            WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $11)
                AND i.execution_key = c.execution_key OFFSET 0) END
        AND CASE WHEN $12::text = '' THEN true ELSE (
            SELECT position($12 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = c.run_key AND s.step_no = c.step_no OFFSET 0) END
        ELSE false END AS fits
    FROM candidates c
)
SELECT group_key, count(*), count(*) FILTER (WHERE fits),
    (array_agg(execution_key ORDER BY listed_at DESC, execution_key DESC)
            FILTER (WHERE fits))[1:5]
FROM looked GROUP BY group_key;

-- store/reads/group_counts.py: _looked_at (look at runs)
-- Look at the dead steps of some runs; None: at the newest ``most`` of each group.
-- Locks: nothing.
-- Parameters: run_keys=$1, most=$2, statuses=$3, died_from=$4, died_before=$5, created_from=$6,
--   before=$7, before_key=$8, id_prefix=$9, triggered_by=$10, batch_id=$11, contains=$12.
WITH of_runs AS MATERIALIZED (
    SELECT x.* FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT group_key, listed_at, execution_key, run_key, step_no, died_at
        FROM zart.dead_steps
        WHERE run_key = u.run_key OFFSET 0) x
    LIMIT $2::bigint
), candidates AS MATERIALIZED (
    SELECT d.*, r.listed_task,
        CASE WHEN r.status = ANY($3::text[]) THEN
        d.died_at >= $4::timestamptz AND d.died_at < $5::timestamptz
        ELSE false END AS is_wanted
    FROM (
        SELECT group_key, listed_at, execution_key, run_key, step_no, died_at FROM of_runs
        WHERE group_key IS NOT NULL AND listed_at >= $6::timestamptz
            AND (listed_at, execution_key) < ($7::timestamptz, $8::bigint)) d CROSS JOIN LATERAL (
                SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
), looked AS MATERIALIZED (
    SELECT c.*, CASE WHEN is_wanted THEN CASE WHEN $9::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, $9) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
        AND CASE WHEN $10::text = '' THEN true ELSE (
            SELECT o.triggered_by = $10 FROM zart.runs o
            WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
        AND CASE WHEN $11::text = '' THEN true ELSE EXISTS (
            SELECT FROM zart.batch_items i
            WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $11)
                AND i.execution_key = c.execution_key OFFSET 0) END
        AND CASE WHEN $12::text = '' THEN true ELSE (
            SELECT position($12 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = c.run_key AND s.step_no = c.step_no OFFSET 0) END
        ELSE false END AS fits
    FROM candidates c
)
SELECT group_key, count(*), count(*) FILTER (WHERE fits),
    (array_agg(execution_key ORDER BY listed_at DESC, execution_key DESC)
            FILTER (WHERE fits))[1:5]
FROM looked GROUP BY group_key UNION ALL SELECT NULL, count(*), 0, NULL FROM of_runs;
