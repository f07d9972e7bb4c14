-- store/reads/compared_runs.py: _sides (runs)
-- Read both runs with their steps: the base, and the one that is compared with it.
-- Locks: nothing.
-- Parameters: run_number=$1, base=$2, execution_id=$3.
SELECT e.task_name, c.run_number AS newest, r.* FROM zart.executions e
CROSS JOIN LATERAL (
    SELECT run_number FROM zart.runs WHERE runs.execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1) c
LEFT JOIN LATERAL (
    SELECT run_key, execution_key, run_number, definition_key, status, "trigger",
        triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
        completed_at, by_hand,
        CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS payload_key
    FROM zart.runs WHERE runs.execution_key = e.execution_key AND runs.run_number = ANY(ARRAY[
            COALESCE($1, c.run_number),
            COALESCE($2, COALESCE($1, c.run_number) - 1)]::integer[])
    OFFSET 0) r ON true
WHERE e.execution_id = $3;

-- store/reads/compared_runs.py: _sides (steps)
-- Read both runs with their steps: the base, and the one that is compared with it.
-- Locks: nothing.
-- Parameters: run_keys=$1, execution_ids=$2, task_names=$3, result_bytes=$4.
WITH run AS MATERIALIZED (
    SELECT u.*, NULL::integer AS only_step FROM unnest($1::bigint[],
            $2::text[], $3::text[]) u(run_key, execution_id, task_name)
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), found AS (
    SELECT run.*, s.run_key AS steps_of, s.step_no, s.status, o.run_key AS made_in,
        o.attempt, o.max_attempts, o.retryable, o.result, o.error, o.started_at,
        o.completed_at, o.correction, o.dispatcher_id AS done_by, o.principal AS done_as,
        o.resolution, o.reason AS done_for,
        src.run_number AS source_run_number,
        COALESCE(q.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
        q.attempt AS queued_attempt, q.max_attempts AS queued_max, q.not_before,
        q.lease_token, q.dispatcher_id, q.principal, q.started_at AS leased_at,
        q.lease_expires_at,
        h.attempt AS held_attempt, h.max_attempts AS held_max, h.not_before AS held_not_before,
        p.rule_id, p.created_by, p.reason, statement_timestamp() AS now, n.last_asked_at,
        sum(pg_column_size(o.result)) OVER (PARTITION BY s.run_key ORDER BY s.step_no)
        AS stored_bytes,
        sum(least(COALESCE(q.attempt, h.attempt, o.attempt), 1000))
        OVER (PARTITION BY s.run_key ORDER BY s.step_no) AS numbered_attempts
    FROM run LEFT JOIN LATERAL (
        SELECT last_asked_at FROM zart.task_names
        WHERE task_names.task_name = run.task_name OFFSET 0) n ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.steps WHERE steps.run_key = run.run_key AND step_no  -- for its index
            BETWEEN COALESCE(only_step, 0) AND COALESCE(only_step, 2147483647)
        ORDER BY step_no) s ON true
    LEFT JOIN LATERAL (
        SELECT s.* WHERE s.source_run_key IS NULL
        UNION ALL
        SELECT * FROM zart.steps
        WHERE steps.run_key = s.source_run_key AND steps.step_no = s.step_no OFFSET 0) o ON true
    LEFT JOIN LATERAL (
        SELECT run_number FROM zart.runs WHERE runs.run_key = s.source_run_key OFFSET 0
    ) src ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.tasks WHERE s.status = 'open'
            AND tasks.run_key = s.run_key AND tasks.step_no = s.step_no OFFSET 0) q ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.held WHERE s.status = 'open'
            AND held.run_key = s.run_key AND held.step_no = s.step_no OFFSET 0) h ON true
    LEFT JOIN LATERAL (
        SELECT CASE
            WHEN q.lease_token IS NOT NULL THEN NULL
            WHEN h.rule_key IS NOT NULL AND (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = h.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = h.rule_key AND x.execution_id = run.execution_id AND x.token_until IS NULL
                        OFFSET 0))
            THEN h.rule_key
            WHEN h.rule_key IS NOT NULL
            THEN zart.pausing_rule(run.execution_id, run.task_name, h.step_name,
                    s.run_key, s.step_no, h.attempt)
            WHEN q.run_key IS NOT NULL AND (SELECT yes FROM settling)
            THEN zart.settling_rule(run.execution_id, run.task_name, q.step_name,
                    s.run_key, s.step_no, q.attempt) END AS key
        OFFSET 0) rule ON true
    LEFT JOIN LATERAL (
        SELECT * FROM zart.pause_rules WHERE pause_rules.rule_key = rule.key OFFSET 0) p ON true
), counted AS (
    SELECT found.*, ended.attempts AS ended_attempts, ended.stored_errors,
        numbered_attempts <= 20000 AND sum(ended.attempts) OVER w <= 10000
        AS attempts_fit,
        sum(ended.stored_errors + COALESCE(pg_column_size(error) - 4, 0)) OVER w
        <= 4194304 AS may_errors_fit
    FROM found LEFT JOIN LATERAL (
        SELECT count(*) AS attempts,
            sum(COALESCE(pg_column_size(error) - 4, 0)) AS stored_errors
        FROM (SELECT error FROM zart.attempts
            WHERE attempts.run_key = made_in AND attempts.step_no = found.step_no
            ORDER BY attempt DESC LIMIT CASE WHEN numbered_attempts <= 20000 THEN 1000 ELSE 1 END + 1) a) ended
    ON true
        WINDOW w AS (PARTITION BY steps_of ORDER BY step_no)
), sized AS (
    SELECT *, sum(CASE WHEN stored_bytes <= $4 THEN octet_length(result::text)
            WHEN result IS NOT NULL THEN $4 + 1 END) OVER w
        AS result_bytes,
        sum(CASE WHEN stored_errors IS NULL THEN NULL
                WHEN may_errors_fit  -- the last one is told once more
                THEN (SELECT sum(COALESCE(octet_length(error::text), 0)) FROM (SELECT error FROM zart.attempts
                    WHERE attempts.run_key = made_in AND attempts.step_no = counted.step_no
                    ORDER BY attempt DESC LIMIT CASE WHEN attempts_fit THEN 1000 ELSE 1 END) a)
                + COALESCE(octet_length(error::text), 0)
                ELSE 4194304 + 1 END)
        OVER w <= 4194304 AS errors_fit,
        sum(CASE WHEN correction IS NOT NULL
                THEN (SELECT octet_length(i.input::text) FROM zart.step_inputs i WHERE i.run_key = made_in
                        AND i.step_no = counted.step_no AND i.correction = counted.correction) END)
        OVER w <= 4194304 AS inputs_fit,
        count(rule_id) OVER w <= 500 AS reasons_fit
    FROM counted WINDOW w AS (PARTITION BY steps_of ORDER BY step_no)
), steps AS (
    SELECT  steps_of, step_no, status, attempt, max_attempts, retryable,
        CASE WHEN errors_fit IS NOT FALSE THEN error WHEN error IS NOT NULL THEN json_build_object(
                'type', left(error->>'type', 100), 'message', left(error->>'message', 200)) END
        AS error,
        NOT errors_fit
        AND stored_errors > 0 OR ended_attempts > CASE WHEN attempts_fit THEN 1000 ELSE 1 END AS errors_omitted,
        started_at, completed_at, done_by, done_as, resolution, done_for,
        source_run_number, scheduled_at,
        queued_attempt, queued_max, not_before, lease_token, dispatcher_id, principal,
        leased_at, lease_expires_at, held_attempt, held_max, held_not_before, rule_id,
        CASE WHEN reasons_fit THEN created_by END AS created_by,
        CASE WHEN reasons_fit THEN reason END AS reason, now, last_asked_at,
        result IS NOT NULL AS has_result,
        CASE WHEN result_bytes <= $4 THEN result END AS shown_result, correction,
        CASE WHEN correction IS NOT NULL AND inputs_fit
        THEN (SELECT i.input FROM zart.step_inputs i WHERE i.run_key = made_in
                AND i.step_no = sized.step_no AND i.correction = sized.correction) END AS shown_input,
        CASE WHEN stored_errors IS NOT NULL THEN (
            SELECT json_agg(json_build_object('attempt', attempt, 'status', status,
                    'dispatcher_id', dispatcher_id, 'principal', principal, 'reason', reason,
                    'started_at', started_at, 'completed_at', completed_at,
                    'error', CASE WHEN errors_fit THEN error ELSE json_build_object(
                            'type', left(error->>'type', 100), 'message', left(error->>'message', 200)) END)
                ORDER BY attempt) FROM (SELECT * FROM zart.attempts
                    WHERE attempts.run_key = made_in AND attempts.step_no = sized.step_no
                    ORDER BY attempt DESC LIMIT CASE WHEN attempts_fit THEN 1000 ELSE 1 END) a
        ) END AS attempts
    FROM sized
)
SELECT * FROM steps ORDER BY steps_of, step_no;

-- store/reads/compared_runs.py: _stored_bytes
-- Return what two results take where they are stored, by the compared step; None: it is one.
-- Locks: nothing.
SELECT u.c_no, CASE WHEN NOT (b.run_key = c.run_key AND u.b_no = u.c_no)
    THEN COALESCE(pg_column_size(base.result) + pg_column_size(compared.result), 0) END
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[]) u(b, b_no, c, c_no)
CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
    WHERE run_key = u.b AND step_no = u.b_no OFFSET 0) b
CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
    WHERE run_key = u.c AND step_no = u.c_no OFFSET 0) c
CROSS JOIN LATERAL (SELECT result FROM zart.steps
    WHERE run_key = b.run_key AND step_no = u.b_no OFFSET 0) base
CROSS JOIN LATERAL (SELECT result FROM zart.steps
    WHERE run_key = c.run_key AND step_no = u.c_no OFFSET 0) compared;

-- store/reads/compared_runs.py: _compared_as_text
-- Return whether two results are the same text, and their size: of the first pairs.
-- Locks: nothing.
-- Parameters: base_keys=$1, base_nos=$2, compared_keys=$3, compared_nos=$4, most=$5.
WITH RECURSIVE done AS (
    SELECT 0 AS n, 0::bigint AS total, false AS are_equal, 0 AS bytes
    UNION ALL
    SELECT d.n + 1, d.total + t.bytes, t.are_equal, t.bytes
    FROM done d CROSS JOIN LATERAL (
        SELECT ($1::bigint[])[d.n + 1], ($2::integer[])[d.n + 1],
            ($3::bigint[])[d.n + 1], ($4::integer[])[d.n + 1]) u(b, b_no, c, c_no)
    CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
        WHERE run_key = u.b AND step_no = u.b_no OFFSET 0) b
    CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
        WHERE run_key = u.c AND step_no = u.c_no OFFSET 0) c
    CROSS JOIN LATERAL (SELECT result::text AS text FROM zart.steps
        WHERE run_key = b.run_key AND step_no = u.b_no OFFSET 0) base
    CROSS JOIN LATERAL (SELECT result::text AS text FROM zart.steps
        WHERE run_key = c.run_key AND step_no = u.c_no OFFSET 0) compared
    CROSS JOIN LATERAL (
        SELECT COALESCE(base.text = compared.text, false) AS are_equal,
            COALESCE(octet_length(base.text) + octet_length(compared.text), 0) AS bytes
        OFFSET 0) t
    WHERE d.total <= $5 AND d.n < cardinality($1)
)
SELECT are_equal, bytes FROM done WHERE n > 0 ORDER BY n;

-- store/reads/compared_runs.py: _compared_as_json
-- Read the results of steps, and return by name which say the same.
-- Locks: nothing.
SELECT u.c_no, base.text, compared.text
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[]) u(b, b_no, c, c_no)
CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
    WHERE run_key = u.b AND step_no = u.b_no OFFSET 0) b
CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
    WHERE run_key = u.c AND step_no = u.c_no OFFSET 0) c
CROSS JOIN LATERAL (SELECT result::text AS text FROM zart.steps
    WHERE run_key = b.run_key AND step_no = u.b_no OFFSET 0) base
CROSS JOIN LATERAL (SELECT result::text AS text FROM zart.steps
    WHERE run_key = c.run_key AND step_no = u.c_no OFFSET 0) compared;
