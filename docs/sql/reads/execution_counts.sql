-- store/reads/execution_counts.py: _states_of
-- Return the status of each run, and the states in which it has steps.
-- Locks: nothing.
-- Parameters: run_keys=$1, max_steps=$2.
WITH settling AS MATERIALIZED (SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes), sized AS (
    SELECT c.*, u.n, sum(z.size) OVER (
        ORDER BY u.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
        SELECT run_key, execution_key, listed_task, status, dead_steps FROM zart.runs
        WHERE run_key = u.run_key OFFSET 0) c
    CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT c.status,
    CASE WHEN c.dead_steps > 0 THEN true ELSE false END AS dead,
    EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) AS running,
    EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) OR EXISTS (SELECT FROM zart.held t
                WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
                    SELECT FROM zart.pause_rules a
                    WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                        AND NOT EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                                WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                            OFFSET 0)) THEN true
                    ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0)
    AS scheduled,
    EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) OR EXISTS (SELECT FROM zart.queue t
                        WHERE t.run_key = c.run_key
                            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                                    t.run_key, t.step_no, t.attempt) IS NOT NULL
                            ELSE false END OFFSET 0) AS paused,
    CASE WHEN c.status IN ('completed', 'cancelled') THEN false
    ELSE EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) END AS pending,
    CASE WHEN c.status = 'completed' THEN true
    ELSE EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) END AS completed,
    c.status = 'cancelled' AS cancelled
FROM sized c WHERE before IS NULL OR before < $2::bigint
ORDER BY n;

-- store/reads/execution_counts.py: _counted (count current of all tasks)
-- Count the runs of a range by status, so many of each at most.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6.
SELECT s.status, c.n FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT
        FROM zart.runs
        WHERE is_current
            AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
            AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r) c
WHERE $6::text IS NOT NULL;

-- store/reads/execution_counts.py: _counted (count current of a task)
-- Count the runs of a range by status, so many of each at most.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6.
SELECT s.status, c.n FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT
        FROM zart.runs
        WHERE is_current
            AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
            AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
        ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r) c
WHERE $2::text IS NOT NULL;

-- store/reads/execution_counts.py: _counted (count with dead steps of all tasks)
-- Count the runs of a range by status, so many of each at most.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6.
SELECT s.status, c.n FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT
        FROM zart.runs
        WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
            AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
            AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r) c
WHERE $6::text IS NOT NULL;

-- store/reads/execution_counts.py: _counted (count with dead steps of a task)
-- Count the runs of a range by status, so many of each at most.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6.
SELECT s.status, c.n FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT
        FROM zart.runs
        WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
            AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
            AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
        ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r) c
WHERE $2::text IS NOT NULL;
