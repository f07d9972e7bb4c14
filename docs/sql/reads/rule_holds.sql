-- store/reads/rule_holds.py: read_known_holds
-- Read what tells which rules held an execution's newest runs.
-- Locks: nothing.
-- Parameters: execution_id=$1, task_name=$2, since=$3.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.pause_rules WHERE rule_key >= 0
    ORDER BY rule_key DESC LIMIT 5000
)
SELECT o.is_any_older, m.* FROM (SELECT (EXISTS (
    SELECT FROM zart.pause_rules WHERE (deleted_at IS NULL) = true
        AND rule_key < (SELECT min(rule_key) FROM looked)
        AND (execution_id IS NULL OR execution_id = $1::text)
        AND (task_name IS NULL OR task_name = $2::text) OFFSET 0)
        OR EXISTS (
            SELECT FROM zart.pause_rules WHERE deleted_at > $3::timestamptz
                AND rule_key < (SELECT min(rule_key) FROM looked)
                AND (execution_id IS NULL OR execution_id = $1::text)
                AND (task_name IS NULL OR task_name = $2::text) OFFSET 0)) AS is_any_older) o
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = looked.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 1) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = looked.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = looked.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= looked.deleted_at)) AS release, EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = looked.rule_key AND x.execution_id = $1::text
                                AND x.token_from <= looked.token_from OFFSET 0) AS is_born_exempt
    FROM looked WHERE (execution_id IS NULL OR execution_id = $1::text)
        AND (task_name IS NULL OR task_name = $2::text)
        AND (deleted_at IS NULL OR deleted_at > $3::timestamptz)) m
ON true;

-- store/reads/rule_holds.py: _records (let go)
-- Return what is on record of each run, by its number; and whether more was let go of any.
-- Locks: nothing.
-- Parameters: run_keys=$1.
SELECT p.rule_id, s.run_key, s.step_no, s.attempt, s.released_at
FROM unnest($1::bigint[]) u(run_key)
CROSS JOIN LATERAL (SELECT * FROM zart.released_steps WHERE run_key = u.run_key
    LIMIT 5000 + 1) s
CROSS JOIN LATERAL (SELECT rule_id FROM zart.pause_rules WHERE rule_key = s.rule_key OFFSET 0) p;

-- store/reads/rule_holds.py: _records (taken back)
-- Return what is on record of each run, by its number; and whether more was let go of any.
-- Locks: nothing.
-- Parameters: rule_ids=$1.
SELECT o.rule_id, o.created_at FROM unnest($1::text[]) u(rule_id) CROSS JOIN LATERAL (
    SELECT rule_id, created_at FROM zart.operations
    WHERE operations.rule_id = u.rule_id AND operations.rule_id <> ''
        AND kind <> 'start' AND kind IN ('stop_release', 'breaker_opened')
    ORDER BY operation_key DESC LIMIT 5000) o;
