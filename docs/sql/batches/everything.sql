-- store/batches/everything.py: find_all (as listed all)
-- Return a piece of all executions, or of those with dead steps, and where the next begins.
-- Locks: nothing.
-- Parameters: statuses=$1, after=$2, after_key=$3, limit=$4.
SELECT run_key, listed_at::text AS place, execution_key
FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT run_key, listed_at, execution_key FROM zart.runs
    WHERE is_current AND (status, listed_at, execution_key)
        > (s.status, $2::text::timestamptz, $3::bigint)
        AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
    ORDER BY runs.status, listed_at, execution_key LIMIT $4::bigint) r
ORDER BY listed_at, execution_key LIMIT $4;

-- store/batches/everything.py: find_all (as listed those with dead steps)
-- Return a piece of all executions, or of those with dead steps, and where the next begins.
-- Locks: nothing.
-- Parameters: statuses=$1, after=$2, after_key=$3, limit=$4.
SELECT run_key, listed_at::text AS place, execution_key
FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT run_key, listed_at, execution_key FROM zart.runs
    WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0 AND (status, listed_at, execution_key)
        > (s.status, $2::text::timestamptz, $3::bigint)
        AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
    ORDER BY runs.status, listed_at, execution_key LIMIT $4::bigint) r
ORDER BY listed_at, execution_key LIMIT $4;
