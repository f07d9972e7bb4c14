-- store/reads/receipts.py: judge_steps (count)
-- Judge the attempts of the next steps by key, at most so many, up to a run.
-- Locks: nothing.
-- Parameters: after_run=$1, after_step=$2, last_run=$3, steps=$4, before=$5, since=$6,
--   task_name=$7, step_regex=$8, token_from=$9, started_at=$10, token_until=$11.
WITH next AS MATERIALIZED (
    SELECT run_key, step_no FROM zart.steps
    WHERE (run_key, step_no) > ($1::bigint, $2::integer) AND run_key <= $3::bigint
    ORDER BY run_key, step_no OFFSET $4::bigint - 1 LIMIT 1
), upto AS MATERIALIZED (
    SELECT COALESCE((SELECT run_key FROM next), $3) AS run_key,
        COALESCE((SELECT step_no FROM next), 2147483647) AS step_no
), lived AS MATERIALIZED (
    SELECT run_key, definition_key FROM zart.runs
    WHERE run_key >= $1
        AND run_key <= (SELECT run_key FROM upto)
        AND created_at <= COALESCE($5::timestamptz, 'infinity')
        AND (completed_at IS NULL OR completed_at >= $6::timestamptz)
        AND ($7::text IS NULL OR listed_task = $7)
), matching AS MATERIALIZED (
    SELECT definition_key, (n - 1)::integer AS step_no
    FROM (SELECT DISTINCT definition_key FROM lived) l
    CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions d
        WHERE d.definition_key = l.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(step_names) WITH ORDINALITY s(step_name, n)
    WHERE $8::text IS NULL OR step_name ~ $8
)
SELECT (SELECT run_key FROM next) AS run_key, (SELECT step_no FROM next) AS step_no,
    count(*) AS checked, count(*) FILTER (WHERE lease_token <= $9::bigint
            AND (completed_at IS NULL OR completed_at > $10::timestamptz)) AS in_flight,
    array_agg(lease_token) FILTER (
        WHERE lease_token > $9 AND lease_token <= $11::bigint) AS inside,
    max(lease_token) FILTER (WHERE lease_token <= $9) AS before,
    min(lease_token) FILTER (WHERE lease_token > $11) AS after
FROM (
    SELECT run_key, step_no, lease_token, completed_at FROM zart.steps
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
        AND status = 'completed' AND source_run_key IS NULL AND lease_token IS NOT NULL
    UNION ALL
    SELECT run_key, step_no, lease_token, completed_at FROM zart.attempts
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
        AND lease_token IS NOT NULL
    UNION ALL
    SELECT run_key, step_no, lease_token, NULL
    FROM zart.leases
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
) a
JOIN lived l USING (run_key)
WHERE ((definition_key, step_no) IN (SELECT definition_key, step_no FROM matching)) IS TRUE;

-- store/reads/receipts.py: judge_steps (judge)
-- Judge the attempts of the next steps by key, at most so many, up to a run.
-- Locks: nothing.
-- Parameters: rule_key=$1, after_run=$2, after_step=$3, upto_run=$4, upto_step=$5, tokens=$6.
SELECT count(*) FILTER (WHERE is_exempt) AS exempt,
    count(*) FILTER (WHERE is_released AND NOT is_exempt) AS released,
    array_agg(lease_token) FILTER (WHERE NOT is_exempt AND NOT is_released) AS others
FROM (
    SELECT lease_token, EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = $1::bigint AND x.execution_id = (
            SELECT execution_id FROM zart.executions WHERE execution_key = (
                SELECT execution_key FROM zart.runs WHERE runs.run_key = a.run_key))
            AND x.token_from < a.lease_token
            AND COALESCE(x.token_until >= a.lease_token, true) OFFSET 0) AS is_exempt,
        EXISTS (
            SELECT FROM zart.released_steps x
            WHERE x.run_key = a.run_key AND x.step_no = a.step_no AND x.attempt = a.attempt
                AND x.rule_key = $1
                AND x.token_from < a.lease_token
                AND COALESCE(x.token_until >= a.lease_token, true) OFFSET 0) AS is_released
    FROM (
        SELECT run_key, step_no, lease_token, completed_at, attempt FROM zart.steps
        WHERE (run_key, step_no) > ($2::bigint, $3::integer)
            AND (run_key, step_no) <= ($4::bigint, $5::integer)
            AND status = 'completed' AND source_run_key IS NULL AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, completed_at, attempt FROM zart.attempts
        WHERE (run_key, step_no) > ($2::bigint, $3::integer)
            AND (run_key, step_no) <= ($4::bigint, $5::integer)
            AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, NULL, attempt
        FROM zart.leases
        WHERE (run_key, step_no) > ($2::bigint, $3::integer)
            AND (run_key, step_no) <= ($4::bigint, $5::integer)
    ) a
    WHERE (lease_token IN (SELECT unnest($6::bigint[]))) IS TRUE) judged;

-- store/reads/receipts.py: name_attempts
-- Return attempts by their tokens, in order, given the steps that they are of.
-- Locks: nothing.
-- Parameters: after_run=$1, after_step=$2, upto_run=$3, upto_step=$4, tokens=$5.
SELECT lease_token, attempt, dispatcher_id, started_at, completed_at, (
    SELECT execution_id FROM zart.executions WHERE execution_key = r.execution_key
) AS execution_id, r.run_number, (
    SELECT step_names[a.step_no + 1] FROM zart.definitions
    WHERE definition_key = r.definition_key) AS step_name
FROM (
    SELECT run_key, step_no, lease_token, completed_at, attempt, dispatcher_id, started_at
    FROM zart.steps
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ($3::bigint, $4::integer)
        AND status = 'completed' AND source_run_key IS NULL AND lease_token IS NOT NULL
    UNION ALL
    SELECT run_key, step_no, lease_token, completed_at, attempt, dispatcher_id, started_at
    FROM zart.attempts
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ($3::bigint, $4::integer)
        AND lease_token IS NOT NULL
    UNION ALL
    SELECT run_key, step_no, lease_token, NULL, attempt, dispatcher_id, started_at
    FROM zart.leases
    WHERE (run_key, step_no) > ($1::bigint, $2::integer)
        AND (run_key, step_no) <= ($3::bigint, $4::integer)
) a
CROSS JOIN LATERAL (
    SELECT execution_key, run_number, definition_key FROM zart.runs
    WHERE runs.run_key = a.run_key OFFSET 0) r
WHERE (lease_token IN (SELECT unnest($5::bigint[]))) IS TRUE ORDER BY lease_token;
