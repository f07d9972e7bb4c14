-- store/reads/listed_runs.py: range_of
-- Return the range after an execution of the list (None: from its beginning) within times.
-- Locks: nothing.
SELECT created_at
FROM zart.executions
WHERE execution_key <= $1
ORDER BY execution_key DESC LIMIT 1;

-- store/reads/listed_runs.py: find_runs (find current of all tasks)
-- Return the first runs of a range; ``is_dead``: those that have dead steps.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6.
SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
    WHERE is_current
        AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
        AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
    ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r
WHERE $6::text IS NOT NULL
ORDER BY listed_at DESC, execution_key DESC LIMIT $5;

-- store/reads/listed_runs.py: find_runs (find current of a task)
-- Return the first runs of a range; ``is_dead``: those that have dead steps.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6.
SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
    WHERE is_current
        AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
        AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
    ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r
ORDER BY listed_at DESC, execution_key DESC LIMIT $6;

-- store/reads/listed_runs.py: find_runs (find with dead steps of all tasks)
-- Return the first runs of a range; ``is_dead``: those that have dead steps.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6.
SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
    WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
        AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
        AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
    ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r
WHERE $6::text IS NOT NULL
ORDER BY listed_at DESC, execution_key DESC LIMIT $5;

-- store/reads/listed_runs.py: find_runs (find with dead steps of a task)
-- Return the first runs of a range; ``is_dead``: those that have dead steps.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6.
SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
    WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
        AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
        AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
    ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r
ORDER BY listed_at DESC, execution_key DESC LIMIT $6;

-- store/reads/listed_runs.py: count_unfinished
-- Count unfinished executions, of each status ``most`` at most.
-- Locks: nothing.
-- Parameters: most=$1.
SELECT count(*) FROM unnest(ARRAY['scheduled', 'running']) s(status) CROSS JOIN LATERAL (
    SELECT FROM zart.runs
    WHERE is_current AND (status, listed_at, execution_key) > (s.status, '-infinity', 0)
        AND (status, listed_at, execution_key) < (s.status, 'infinity', 0)
    ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $1::bigint) r;
