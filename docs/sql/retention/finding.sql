-- store/retention/finding.py: next_task
-- Return the first task by name, after this one, that has executions.
-- Locks: nothing.
SELECT listed_task
FROM zart.runs
WHERE is_current
    AND (listed_task, status, listed_at, execution_key) > ($1::text, 'z', 'infinity', 0)
ORDER BY listed_task, status, listed_at, execution_key LIMIT 1;

-- store/retention/finding.py: find_ended
-- Return, of each status, the next executions of a task that may have ended before a time.
-- Locks: nothing.
-- Parameters: ended_before=$1, statuses=$2, times=$3, keys=$4, task_name=$5, limit=$6.
SELECT r.status, r.listed_at, r.execution_key,
    EXTRACT(epoch FROM $1::timestamptz - r.completed_at)::float8
FROM unnest($2::text[], $3::timestamptz[], $4::bigint[])
    s(status, since, since_key)
CROSS JOIN LATERAL (
    SELECT status, listed_at, execution_key, completed_at FROM zart.runs
    WHERE is_current AND (listed_task, status, listed_at, execution_key)
        > ($5::text, s.status, s.since, s.since_key)
        AND (listed_task, status, listed_at, execution_key)
        < ($5, s.status, $1, 0)
    ORDER BY listed_task, status, listed_at, execution_key LIMIT $6::bigint) r;

-- store/retention/finding.py: execution_id_of
-- Return how callers name an execution that was looked at; None: it is gone.
-- Locks: nothing.
SELECT execution_id FROM zart.executions WHERE execution_key = $1;
