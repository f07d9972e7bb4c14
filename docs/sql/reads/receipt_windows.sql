-- store/reads/receipt_windows.py: read_window
-- Return the window of a rule, deleted or not.
-- Locks: nothing.
SELECT zart.last_token();

-- store/reads/receipt_windows.py: read_window
-- Return the window of a rule, deleted or not.
-- Locks: nothing.
SELECT rule_key, execution_id, task_name, step_regex, created_at, deleted_at, token_from,
    token_until, created_at <= LEAST(deleted_at, statement_timestamp()) AND NOT EXISTS (
        SELECT FROM zart.history WHERE joined_at > r.created_at - $2::interval) AS is_by_times
FROM zart.pause_rules r WHERE rule_id = $1;

-- store/reads/receipt_windows.py: last_run_of
-- Return a run key beyond which no run has leased anything by the end of a window.
-- Locks: nothing.
SELECT COALESCE((SELECT run_key FROM zart.runs WHERE run_key >= 0 ORDER BY run_key LIMIT 1), 0), COALESCE((SELECT run_key FROM zart.runs WHERE run_key >= 0 ORDER BY run_key DESC LIMIT 1), 0);

-- store/reads/receipt_windows.py: last_run_of
-- Return a run key beyond which no run has leased anything by the end of a window.
-- Locks: nothing.
SELECT run_key, created_at > $2 FROM zart.runs WHERE run_key >= $1 ORDER BY run_key LIMIT 1;

-- store/reads/receipt_windows.py: find_spans (spans)
-- Look at the next runs by key, at most so many, for those that lived about a window.
-- Locks: nothing.
-- Parameters: before=$1, since=$2, task_name=$3, after=$4, last=$5, limit=$6.
SELECT max(run_key) AS until,
    min(run_key) FILTER (WHERE lived) AS first, max(run_key) FILTER (WHERE lived) AS last
FROM (
    SELECT run_key, created_at <= COALESCE($1::timestamptz, 'infinity')
        AND (completed_at IS NULL OR completed_at >= COALESCE($2::timestamptz, '-infinity'))
        AND ($3::text IS NULL OR listed_task = $3) AS lived
    FROM zart.runs WHERE run_key > $4::bigint AND run_key <= $5::bigint
    ORDER BY run_key LIMIT $6::bigint) r
GROUP BY run_key / 1000 ORDER BY until;

-- store/reads/receipt_windows.py: find_spans (runs of execution)
-- Look at the next runs by key, at most so many, for those that lived about a window.
-- Locks: nothing.
-- Parameters: execution_id=$1, before=$2, since=$3.
SELECT run_key FROM zart.runs
WHERE execution_key = (
    SELECT execution_key FROM zart.executions WHERE execution_id = $1)
    AND created_at <= COALESCE($2::timestamptz, 'infinity')
    AND (completed_at IS NULL OR completed_at >= COALESCE($3::timestamptz, '-infinity'))
ORDER BY run_number;

-- store/reads/receipt_windows.py: find_gaps
-- Return why it is not known what was leased in a window, if so.
-- Locks: nothing.
-- Parameters: task_name=$1, since=$2, before=$3, execution_id=$4, token_from=$5, token_until=$6.
SELECT EXISTS (
    SELECT FROM zart.purged_runs
    WHERE ($1::text IS NULL OR task_name = $1)
        AND lives && tstzrange($2::timestamptz, $3::timestamptz, '[]'))
    AND NOT EXISTS (
        SELECT FROM zart.executions
        WHERE execution_id = $4::text AND created_at <= $2) AS is_any_purged,
    EXISTS (
        SELECT FROM zart.possible_losses
        WHERE last_token >= $5::bigint
            AND last_token < COALESCE($6::bigint, last_token + 1)) AS is_any_lost;
