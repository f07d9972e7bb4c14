-- store/end_leases.py: end_leases (end in doubt waiting)
-- End the leases that are current: delete them, record the attempts, finish their steps.
-- Locks: runs, waiting; leases; steps.
-- Parameters: locked=$1, principals=$2, run_keys=$3, step_nos=$4, tokens=$5, of_principals=$6,
--   statuses=$7, retryable=$8, results=$9, errors=$10, swept=$11, by_server=$12, doubts=$13.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY($1::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
), verdicts AS MATERIALIZED (
    SELECT u.*, ($2::text[])[of_principal] AS principal
    FROM unnest($3::text::bigint[], $4::text::integer[], $5::text::bigint[],
            $6::text::integer[],
            $7::text::text[], $8::text::boolean[], $9::text[], $10::text[])
    WITH ORDINALITY
        u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
    WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND true
), ended AS (
    DELETE FROM zart.leases l USING verdicts t
    WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
        AND l.lease_token = t.lease_token AND l.principal = t.principal
        AND (NOT $11 OR l.lease_expires_at <= statement_timestamp())
    RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
        t.error::json AS error,
        EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
        l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
        CASE WHEN t.status = 'completed' THEN 'completed'
        WHEN t.status <> 'released'
        AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
        THEN 'dead' END AS final
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at)
    SELECT run_key, step_no, attempt, status,
        $11 OR (n IN (SELECT unnest($12::text::bigint[]))) IS TRUE,
        dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
    FROM ended WHERE status <> 'completed'
), steps AS (
    UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
        counted = e.now_counted, max_attempts = e.max_attempts,
        retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
        scheduled_at = e.scheduled_at, started_at = e.started_at,
        completed_at = statement_timestamp(), lease_token = e.lease_token,
        dispatcher_id = e.dispatcher_id, principal = e.principal
    FROM ended e
    WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
        AND s.status = 'open'
), in_doubt AS (
    INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
    SELECT e.run_key, e.step_no, e.attempt, x.execution_id, r.listed_task, r.run_number,
        e.step_name, e.ended_as, e.swept, e.dispatcher_id, e.principal, e.lease_token,
        e.started_at
    FROM (
        SELECT *, status AS ended_as, $11 AS swept FROM ended
        WHERE (n IN (SELECT unnest($13::text::bigint[]))) IS TRUE
    ) e
    CROSS JOIN LATERAL (SELECT execution_key, run_number, listed_task FROM zart.runs
        WHERE run_key = e.run_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
        WHERE execution_key = r.execution_key OFFSET 0) x
)
SELECT run_key, NULL::integer, NULL::bigint, status, dead_steps, by_hand::integer,
    NULL::integer, NULL::integer, NULL::text, NULL::integer, NULL::float8, NULL::bigint,
    NULL::timestamptz, NULL::bigint
FROM locked
UNION ALL
SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
    max_attempts, final, correction, seconds, n,
    CASE status WHEN 'released' THEN not_before END,
    CASE status WHEN 'released' THEN queue_no END FROM ended;

-- store/end_leases.py: end_leases (end in doubt passing over locked rows)
-- End the leases that are current: delete them, record the attempts, finish their steps.
-- Locks: runs, passing over locked rows; leases; steps.
-- Parameters: locked=$1, principals=$2, run_keys=$3, step_nos=$4, tokens=$5, of_principals=$6,
--   statuses=$7, retryable=$8, results=$9, errors=$10, swept=$11, by_server=$12, doubts=$13.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY($1::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
        SKIP LOCKED),
verdicts AS MATERIALIZED (
    SELECT u.*, ($2::text[])[of_principal] AS principal
    FROM unnest($3::text::bigint[], $4::text::integer[], $5::text::bigint[],
            $6::text::integer[],
            $7::text::text[], $8::text::boolean[], $9::text[], $10::text[])
    WITH ORDINALITY
        u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
    WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND true
), ended AS (
    DELETE FROM zart.leases l USING verdicts t
    WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
        AND l.lease_token = t.lease_token AND l.principal = t.principal
        AND (NOT $11 OR l.lease_expires_at <= statement_timestamp())
    RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
        t.error::json AS error,
        EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
        l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
        CASE WHEN t.status = 'completed' THEN 'completed'
        WHEN t.status <> 'released'
        AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
        THEN 'dead' END AS final
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at)
    SELECT run_key, step_no, attempt, status,
        $11 OR (n IN (SELECT unnest($12::text::bigint[]))) IS TRUE,
        dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
    FROM ended WHERE status <> 'completed'
), steps AS (
    UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
        counted = e.now_counted, max_attempts = e.max_attempts,
        retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
        scheduled_at = e.scheduled_at, started_at = e.started_at,
        completed_at = statement_timestamp(), lease_token = e.lease_token,
        dispatcher_id = e.dispatcher_id, principal = e.principal
    FROM ended e
    WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
        AND s.status = 'open'
), in_doubt AS (
    INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
    SELECT e.run_key, e.step_no, e.attempt, x.execution_id, r.listed_task, r.run_number,
        e.step_name, e.ended_as, e.swept, e.dispatcher_id, e.principal, e.lease_token,
        e.started_at
    FROM (
        SELECT *, status AS ended_as, $11 AS swept FROM ended
        WHERE (n IN (SELECT unnest($13::text::bigint[]))) IS TRUE
    ) e
    CROSS JOIN LATERAL (SELECT execution_key, run_number, listed_task FROM zart.runs
        WHERE run_key = e.run_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
        WHERE execution_key = r.execution_key OFFSET 0) x
)
SELECT run_key, NULL::integer, NULL::bigint, status, dead_steps, by_hand::integer,
    NULL::integer, NULL::integer, NULL::text, NULL::integer, NULL::float8, NULL::bigint,
    NULL::timestamptz, NULL::bigint
FROM locked
UNION ALL
SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
    max_attempts, final, correction, seconds, n,
    CASE status WHEN 'released' THEN not_before END,
    CASE status WHEN 'released' THEN queue_no END FROM ended;

-- store/end_leases.py: end_leases (end waiting)
-- End the leases that are current: delete them, record the attempts, finish their steps.
-- Locks: runs, waiting; leases; steps.
-- Parameters: locked=$1, principals=$2, run_keys=$3, step_nos=$4, tokens=$5, of_principals=$6,
--   statuses=$7, retryable=$8, results=$9, errors=$10, swept=$11, by_server=$12.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY($1::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
), verdicts AS MATERIALIZED (
    SELECT u.*, ($2::text[])[of_principal] AS principal
    FROM unnest($3::text::bigint[], $4::text::integer[], $5::text::bigint[],
            $6::text::integer[],
            $7::text::text[], $8::text::boolean[], $9::text[], $10::text[])
    WITH ORDINALITY
        u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
    WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND true
), ended AS (
    DELETE FROM zart.leases l USING verdicts t
    WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
        AND l.lease_token = t.lease_token AND l.principal = t.principal
        AND (NOT $11 OR l.lease_expires_at <= statement_timestamp())
    RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
        t.error::json AS error,
        EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
        l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
        CASE WHEN t.status = 'completed' THEN 'completed'
        WHEN t.status <> 'released'
        AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
        THEN 'dead' END AS final
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at)
    SELECT run_key, step_no, attempt, status,
        $11 OR (n IN (SELECT unnest($12::text::bigint[]))) IS TRUE,
        dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
    FROM ended WHERE status <> 'completed'
), steps AS (
    UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
        counted = e.now_counted, max_attempts = e.max_attempts,
        retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
        scheduled_at = e.scheduled_at, started_at = e.started_at,
        completed_at = statement_timestamp(), lease_token = e.lease_token,
        dispatcher_id = e.dispatcher_id, principal = e.principal
    FROM ended e
    WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
        AND s.status = 'open'
)
SELECT run_key, NULL::integer, NULL::bigint, status, dead_steps, by_hand::integer,
    NULL::integer, NULL::integer, NULL::text, NULL::integer, NULL::float8, NULL::bigint,
    NULL::timestamptz, NULL::bigint
FROM locked
UNION ALL
SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
    max_attempts, final, correction, seconds, n,
    CASE status WHEN 'released' THEN not_before END,
    CASE status WHEN 'released' THEN queue_no END FROM ended;

-- store/end_leases.py: end_leases (end passing over locked rows)
-- End the leases that are current: delete them, record the attempts, finish their steps.
-- Locks: runs, passing over locked rows; leases; steps.
-- Parameters: locked=$1, principals=$2, run_keys=$3, step_nos=$4, tokens=$5, of_principals=$6,
--   statuses=$7, retryable=$8, results=$9, errors=$10, swept=$11, by_server=$12.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY($1::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
        SKIP LOCKED),
verdicts AS MATERIALIZED (
    SELECT u.*, ($2::text[])[of_principal] AS principal
    FROM unnest($3::text::bigint[], $4::text::integer[], $5::text::bigint[],
            $6::text::integer[],
            $7::text::text[], $8::text::boolean[], $9::text[], $10::text[])
    WITH ORDINALITY
        u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
    WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND true
), ended AS (
    DELETE FROM zart.leases l USING verdicts t
    WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
        AND l.lease_token = t.lease_token AND l.principal = t.principal
        AND (NOT $11 OR l.lease_expires_at <= statement_timestamp())
    RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
        t.error::json AS error,
        EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
        l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
        CASE WHEN t.status = 'completed' THEN 'completed'
        WHEN t.status <> 'released'
        AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
        THEN 'dead' END AS final
), attempts AS (
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
            principal, lease_token, error, started_at, completed_at)
    SELECT run_key, step_no, attempt, status,
        $11 OR (n IN (SELECT unnest($12::text::bigint[]))) IS TRUE,
        dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
    FROM ended WHERE status <> 'completed'
), steps AS (
    UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
        counted = e.now_counted, max_attempts = e.max_attempts,
        retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
        scheduled_at = e.scheduled_at, started_at = e.started_at,
        completed_at = statement_timestamp(), lease_token = e.lease_token,
        dispatcher_id = e.dispatcher_id, principal = e.principal
    FROM ended e
    WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
        AND s.status = 'open'
)
SELECT run_key, NULL::integer, NULL::bigint, status, dead_steps, by_hand::integer,
    NULL::integer, NULL::integer, NULL::text, NULL::integer, NULL::float8, NULL::bigint,
    NULL::timestamptz, NULL::bigint
FROM locked
UNION ALL
SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
    max_attempts, final, correction, seconds, n,
    CASE status WHEN 'released' THEN not_before END,
    CASE status WHEN 'released' THEN queue_no END FROM ended;

-- store/end_leases.py: end_and_enqueue
-- End leases, complete runs and enqueue ready steps by one statement, without a transaction.
-- Locks: runs, passing over locked rows; pause lock, shared; leases; steps.
-- Parameters: locked=$1, epoch=$2, principals=$3, run_keys=$4, step_nos=$5, tokens=$6,
--   of_principals=$7, statuses=$8, retryable=$9, results=$10, errors=$11, swept=$12, by_server=$13,
--   lasts=$14, lanes=$15, step_names=$16, timeouts=$17, corrections=$18, ready_runs=$19,
--   ready_steps=$20, attempts=$21, counted=$22, backoff_bases=$23, max_attempts=$24, delays=$25,
--   rule_keys=$26, kinds=$27, lessees=$28, after=$29, lessee_seconds=$30, lessee_ids=$31,
--   lessee_principals=$32.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY($1::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
        SKIP LOCKED), now AS MATERIALIZED (
            SELECT zart.shared_epoch(134558950621186) AS epoch, l.n, l.are_running FROM (
                SELECT count(*) AS n, bool_and(status = 'running' AND NOT by_hand) AS are_running
                FROM locked) l
        ), fine AS MATERIALIZED (
            SELECT are_running AND n = cardinality($1::text::bigint[]) AND epoch = $2
            -- From here on it holds the pause lock, and a Pause waits for it.
                AND set_config('lock_timeout', '100', true) IS NOT NULL AS yes
            FROM now
        ), verdicts AS MATERIALIZED (
            SELECT u.*, ($3::text[])[of_principal] AS principal
            FROM unnest($4::text::bigint[], $5::text::integer[], $6::text::bigint[],
                    $7::text::integer[],
                    $8::text::text[], $9::text::boolean[], $10::text[], $11::text[])
            WITH ORDINALITY
                u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
            WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND (SELECT yes FROM fine)
        ), ended AS (
            DELETE FROM zart.leases l USING verdicts t
            WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
                AND l.lease_token = t.lease_token AND l.principal = t.principal
                AND (NOT $12 OR l.lease_expires_at <= statement_timestamp())
            RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
                t.error::json AS error,
                EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
                l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
                CASE WHEN t.status = 'completed' THEN 'completed'
                WHEN t.status <> 'released'
                AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
                THEN 'dead' END AS final
        ), attempts AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                    principal, lease_token, error, started_at, completed_at)
            SELECT run_key, step_no, attempt, status,
                $12 OR (n IN (SELECT unnest($13::text::bigint[]))) IS TRUE,
                dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
            FROM ended WHERE status <> 'completed'
        ), steps AS (
            UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
                counted = e.now_counted, max_attempts = e.max_attempts,
                retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
                scheduled_at = e.scheduled_at, started_at = e.started_at,
                completed_at = statement_timestamp(), lease_token = e.lease_token,
                dispatcher_id = e.dispatcher_id, principal = e.principal
            FROM ended e
            WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
                AND s.status = 'open'
        ), finished AS (
            UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()
            WHERE status || '' = 'running' AND run_key = ANY(ARRAY(
                SELECT run_key FROM ended
                WHERE (n IN (SELECT unnest($14::text::bigint[]))) IS TRUE))
            RETURNING run_key
        ), ready AS MATERIALIZED (
            SELECT u.*, ($15::integer[])[kind] AS lane, ($16::text[])[kind] AS step_name,
                ($17::float8[])[kind] AS timeout_seconds,
                ($18::integer[])[kind] AS correction
            FROM unnest($19::text::bigint[], $20::text::integer[],
                    $21::text::integer[], $22::text::integer[],
                    $23::text::integer[], $24::text::integer[],
                    $25::text::float8[], $26::text::bigint[], $27::text::integer[],
                    $28::text::integer[], $29::text::bigint[])
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                    delay, rule_key, kind, lessee, after, n)
            WHERE (after IN (SELECT n FROM ended)) IS TRUE
        ), queued AS (
            INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
                clock_timestamp() + delay * interval '1 second', clock_timestamp()
            FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
                clock_timestamp() + delay * interval '1 second', clock_timestamp(), rule_key
            FROM ready WHERE rule_key <> 0 ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
                    lease_seconds, dispatcher_id, principal)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, correction, 0, statement_timestamp(), statement_timestamp(),
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + ($30::float8[])[lessee] * interval '1 second',
                ($30::float8[])[lessee], ($31::text[])[lessee],
                ($32::text[])[lessee]
            FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
SELECT yes, NULL::bigint, NULL::integer, NULL::bigint, NULL::timestamptz, NULL::float8 FROM fine
UNION ALL
SELECT true, run_key, step_no, NULL, NULL, seconds FROM ended
UNION ALL
SELECT true, run_key, NULL, NULL, NULL, NULL FROM finished
UNION ALL
SELECT true, *, NULL FROM leased;
