-- store/reads/rules.py: list_pause_rules (list active)
-- List rules whose own scope fields equal every field given, newest first.
-- Locks: nothing.
-- Parameters: before=$1, execution_id=$2, task_name=$3, step_pattern=$4, include_deleted=$5,
--   limit=$6.
WITH first AS MATERIALIZED (
    SELECT *
    FROM zart.pause_rules
    WHERE ((deleted_at IS NULL), rule_key) < (true, $1::bigint)
        AND ((deleted_at IS NULL), rule_key) >= (true, 0)
    ORDER BY (deleted_at IS NULL) DESC, rule_key DESC LIMIT 5000
)
SELECT r.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(rule_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = first.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 100) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = first.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = first.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= first.deleted_at)) AS release FROM first
    WHERE ($2::text IS NULL OR execution_id = $2)
        AND ($3::text IS NULL OR task_name = $3)
        AND ($4::text IS NULL OR step_pattern = $4)
        AND ($5::boolean OR deleted_at IS NULL)
    ORDER BY rule_key DESC LIMIT $6::bigint) r ON true;

-- store/reads/rules.py: list_pause_rules (list of an execution)
-- List rules whose own scope fields equal every field given, newest first.
-- Locks: nothing.
-- Parameters: execution_id=$1, before=$2, task_name=$3, step_pattern=$4, include_deleted=$5,
--   limit=$6.
WITH first AS MATERIALIZED (
    SELECT *
    FROM zart.pause_rules
    WHERE execution_id IS NOT NULL
        AND (execution_id, rule_key) < ($1::text, $2::bigint)
        AND (execution_id, rule_key) >= ($1::text, 0)
    ORDER BY execution_id DESC, rule_key DESC LIMIT 5000
)
SELECT r.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(rule_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = first.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 100) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = first.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = first.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= first.deleted_at)) AS release FROM first
    WHERE ($1::text IS NULL OR execution_id = $1)
        AND ($3::text IS NULL OR task_name = $3)
        AND ($4::text IS NULL OR step_pattern = $4)
        AND ($5::boolean OR deleted_at IS NULL)
    ORDER BY rule_key DESC LIMIT $6::bigint) r ON true;

-- store/reads/rules.py: list_pause_rules (list of a pattern)
-- List rules whose own scope fields equal every field given, newest first.
-- Locks: nothing.
-- Parameters: step_pattern=$1, before=$2, execution_id=$3, task_name=$4, include_deleted=$5,
--   limit=$6.
WITH first AS MATERIALIZED (
    SELECT *
    FROM zart.pause_rules
    WHERE step_pattern IS NOT NULL
        AND (step_pattern, rule_key) < ($1::text, $2::bigint)
        AND (step_pattern, rule_key) >= ($1::text, 0)
    ORDER BY step_pattern DESC, rule_key DESC LIMIT 5000
)
SELECT r.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(rule_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = first.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 100) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = first.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = first.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= first.deleted_at)) AS release FROM first
    WHERE ($3::text IS NULL OR execution_id = $3)
        AND ($4::text IS NULL OR task_name = $4)
        AND ($1::text IS NULL OR step_pattern = $1)
        AND ($5::boolean OR deleted_at IS NULL)
    ORDER BY rule_key DESC LIMIT $6::bigint) r ON true;

-- store/reads/rules.py: list_pause_rules (list of a task)
-- List rules whose own scope fields equal every field given, newest first.
-- Locks: nothing.
-- Parameters: task_name=$1, before=$2, execution_id=$3, step_pattern=$4, include_deleted=$5,
--   limit=$6.
WITH first AS MATERIALIZED (
    SELECT *
    FROM zart.pause_rules
    WHERE task_name IS NOT NULL
        AND (task_name, rule_key) < ($1::text, $2::bigint)
        AND (task_name, rule_key) >= ($1::text, 0)
    ORDER BY task_name DESC, rule_key DESC LIMIT 5000
)
SELECT r.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(rule_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = first.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 100) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = first.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = first.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= first.deleted_at)) AS release FROM first
    WHERE ($3::text IS NULL OR execution_id = $3)
        AND ($1::text IS NULL OR task_name = $1)
        AND ($4::text IS NULL OR step_pattern = $4)
        AND ($5::boolean OR deleted_at IS NULL)
    ORDER BY rule_key DESC LIMIT $6::bigint) r ON true;

-- store/reads/rules.py: list_pause_rules (list all)
-- List rules whose own scope fields equal every field given, newest first.
-- Locks: nothing.
-- Parameters: before=$1, execution_id=$2, task_name=$3, step_pattern=$4, include_deleted=$5,
--   limit=$6.
WITH first AS MATERIALIZED (
    SELECT * FROM zart.pause_rules WHERE rule_key < $1::bigint
    ORDER BY rule_key DESC LIMIT 5000
)
SELECT r.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(rule_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = first.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 100) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = first.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = first.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= first.deleted_at)) AS release FROM first
    WHERE ($2::text IS NULL OR execution_id = $2)
        AND ($3::text IS NULL OR task_name = $3)
        AND ($4::text IS NULL OR step_pattern = $4)
        AND ($5::boolean OR deleted_at IS NULL)
    ORDER BY rule_key DESC LIMIT $6::bigint) r ON true;

-- store/reads/rules.py: find_rules
-- Return the rules with these ids, deleted or not, with all that they exempt, in any order.
-- Locks: nothing.
-- Parameters: rule_ids=$1.
SELECT r.* FROM unnest($1::text[]) u(id) CROSS JOIN LATERAL (
    SELECT rule_key, rule_id, execution_id, task_name, step_pattern, everything, reason,
        created_at, created_by, principal, expires_at, deleted_at, deleted_by, deleted_by_principal,
        expired, incident, breaker_id, expiry_rate, ARRAY(
            SELECT x.execution_id FROM zart.pause_exemptions x
            WHERE x.rule_key = p.rule_key AND x.token_until IS NULL
            ORDER BY x.execution_id LIMIT 1000) AS exempt, (
                SELECT drained_at FROM zart.pause_drains d
                WHERE d.rule_key = p.rule_key) AS drained_at, (
                    SELECT json_build_array(z.rate_per_second, z.released_steps, z.started_at,
                            z.expected_end_at, z.started_by, z.is_waiting)
                    FROM zart.pause_releases z WHERE z.rule_key = p.rule_key
                        AND (z.ended_at IS NULL OR z.ended_at >= p.deleted_at)) AS release
    FROM zart.pause_rules p
    WHERE rule_id = u.id OFFSET 0) r;
