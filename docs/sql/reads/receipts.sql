-- store/reads/receipts.py: judge_steps
-- Judge the attempts of the next steps by key, at most so many, up to a run.
-- Locks: nothing.
-- Parameters: after_run=$1, after_step=$2, last_run=$3, steps=$4, before=$5, since=$6,
--   task_name=$7, step_regex=$8, token_from=$9, token_until=$10, rule_key=$11, started_at=$12.
WITH next AS MATERIALIZED (
    SELECT run_key, step_no FROM zart.steps
    WHERE (run_key, step_no) > ($1::bigint, $2::integer) AND run_key <= $3::bigint
    ORDER BY run_key, step_no OFFSET $4::bigint - 1 LIMIT 1
), upto AS MATERIALIZED (
    SELECT COALESCE((SELECT run_key FROM next), $3) AS run_key,
        COALESCE((SELECT step_no FROM next), 2147483647) AS step_no
), lived AS MATERIALIZED (
    SELECT run_key, execution_key, definition_key FROM zart.runs
    WHERE run_key >= $1
        AND run_key <= (SELECT run_key FROM upto)
        AND created_at <= COALESCE($5::timestamptz, 'infinity')
        AND (completed_at IS NULL OR completed_at >= COALESCE($6::timestamptz, '-infinity'))
        AND ($7::text IS NULL OR listed_task = $7)
), matching AS MATERIALIZED (
    SELECT definition_key, (n - 1)::integer AS step_no
    FROM (SELECT DISTINCT definition_key FROM lived) l
    CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions d
        WHERE d.definition_key = l.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(step_names) WITH ORDINALITY s(step_name, n)
    WHERE $8::text IS NULL OR step_name ~ $8
), seen AS MATERIALIZED (
    SELECT run_key, step_no, attempt, lease_token, completed_at, execution_key
    FROM (
        SELECT run_key, step_no, lease_token, completed_at, attempt FROM zart.steps
        WHERE (run_key, step_no) > ($1::bigint, $2::integer)
            AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
            AND status = 'completed' AND source_run_key IS NULL AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, completed_at, attempt FROM zart.attempts
        WHERE (run_key, step_no) > ($1::bigint, $2::integer)
            AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
            AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, NULL, attempt
        FROM zart.leases
        WHERE (run_key, step_no) > ($1::bigint, $2::integer)
            AND (run_key, step_no) <= ((SELECT run_key FROM upto), (SELECT step_no FROM upto))
    ) a
    JOIN lived l USING (run_key)
    WHERE ((definition_key, step_no) IN (SELECT definition_key, step_no FROM matching)) IS TRUE
), inside AS MATERIALIZED (
    SELECT run_key, step_no, attempt, lease_token, execution_key FROM seen
    WHERE lease_token > $9::bigint AND lease_token <= $10::bigint
), exemptions AS MATERIALIZED (
    SELECT execution_key, x.token_from, x.token_until
    FROM (SELECT DISTINCT execution_key FROM inside) i
    CROSS JOIN LATERAL (
        SELECT execution_id FROM zart.executions e
        WHERE e.execution_key = i.execution_key OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT token_from, token_until FROM zart.pause_exemptions p
        WHERE p.rule_key = $11 AND p.execution_id = e.execution_id OFFSET 0) x
    WHERE (SELECT EXISTS (
        SELECT FROM zart.pause_exemptions WHERE rule_key = $11::bigint))
), judged AS MATERIALIZED (
    SELECT lease_token, e.run_key IS NOT NULL AS is_exempt, x.run_key IS NOT NULL AS is_released
    FROM inside a
    LEFT JOIN (
        SELECT DISTINCT run_key, step_no, attempt FROM inside a JOIN exemptions x USING (execution_key)
        WHERE x.token_from < a.lease_token
            AND COALESCE(x.token_until >= a.lease_token, true)) e USING (run_key, step_no, attempt)
    LEFT JOIN zart.released_steps x
    ON (x.run_key, x.step_no, x.attempt) = (a.run_key, a.step_no, a.attempt)
        AND x.rule_key = $11 AND x.run_key >= $1
        AND x.run_key <= (SELECT run_key FROM upto)
        AND x.token_from < a.lease_token
        AND COALESCE(x.token_until >= a.lease_token, true)
)
SELECT (SELECT run_key FROM next) AS run_key, (SELECT step_no FROM next) AS step_no,
    checked, in_flight, exempt, released, others, before, after,
(SELECT ARRAY[run_key, step_no] FROM seen
    WHERE lease_token = before LIMIT 1) AS before_step,
(SELECT ARRAY[run_key, step_no] FROM seen
    WHERE lease_token = after LIMIT 1) AS after_step
FROM (
    SELECT count(*) AS checked, count(*) FILTER (WHERE lease_token <= $9
            AND (completed_at IS NULL OR completed_at > $12::timestamptz)) AS in_flight,
        max(lease_token) FILTER (WHERE lease_token <= $9) AS before,
        min(lease_token) FILTER (WHERE lease_token > $10) AS after
    FROM seen) s
CROSS JOIN (
    SELECT count(*) FILTER (WHERE is_exempt) AS exempt,
        count(*) FILTER (WHERE is_released AND NOT is_exempt) AS released,
        array_agg(lease_token) FILTER (WHERE NOT is_exempt AND NOT is_released) AS others
    FROM judged) j;

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
