-- store/start_fast.py: start_fast
-- Insert executions, enqueue their roots and store the incomplete answers to their requests.
-- Locks: keys of executions; pause lock, shared; keys of requests.
-- Parameters: task_names=$1, definition_keys=$2, versions=$3, triggered_by=$4, principals=$5,
--   reasons=$6, request_ids=$7, incidents=$8, execution_ids=$9, kinds=$10, payloads=$11,
--   traceparents=$12, are_leased=$13, callers=$14, rpcs=$15, answered_ids=$16, fingerprints=$17,
--   responses=$18, epoch=$19, rule_keys=$20, lessees=$21, lessee_seconds=$22, lessee_ids=$23,
--   lessee_principals=$24.
WITH asked AS MATERIALIZED (
    SELECT u.*, ($1::text[])[kind] AS task_name,
        ($2::bigint[])[kind] AS definition_key,
        ($3::integer[])[kind] AS version,
        ($4::text[])[kind] AS triggered_by,
        ($5::text[])[kind] AS principal,
        ($6::text[])[kind] AS reason, ($7::text[])[kind] AS request_id,
        ($8::text[])[kind] AS incident,
        nextval('zart.executions_execution_key_seq') AS execution_key,
        nextval('zart.runs_run_key_seq') AS run_key
    FROM unnest($9::text[], $10::text::integer[], $11::text[],
            $12::text[], $13::boolean[], $14::text[], $15::text[],
            $16::text[], $17::bytea[], $18::bytea[])
    WITH ORDINALITY u(execution_id, kind, payload, traceparent, is_leased, caller, rpc,
            answered_id, fingerprint, response, n)
), new AS MATERIALIZED (
    SELECT * FROM asked
    WHERE definition_key = (SELECT t.definition_key FROM zart.task_names t
        WHERE t.task_name = asked.task_name)
        AND (EXISTS (SELECT FROM zart.requests q WHERE q.caller = asked.caller
                AND q.rpc = asked.rpc AND q.request_id = asked.answered_id
            OFFSET 0)) IS FALSE
), e AS (
    INSERT INTO zart.executions (execution_key, execution_id, task_name)
    OVERRIDING SYSTEM VALUE
    SELECT execution_key, execution_id, task_name FROM new ORDER BY n
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING execution_key
), started AS MATERIALIZED (
    -- IS TRUE keeps this from becoming a join: it is looked up in a hash table.
    SELECT * FROM new WHERE (execution_key IN (SELECT execution_key FROM e)) IS TRUE
), r AS (
    INSERT INTO zart.runs (run_key, execution_key, listed_task, run_number, definition_key,
            "trigger", triggered_by, principal, reason, payload, status,
            started_at, traceparent)
    OVERRIDING SYSTEM VALUE
    SELECT run_key, execution_key, task_name, 0, definition_key, 'initial', triggered_by,
        principal, reason, payload::json,
        CASE WHEN is_leased THEN 'running' ELSE 'scheduled' END,
        CASE WHEN is_leased THEN statement_timestamp() END, traceparent
    FROM started
), o AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, task_name, triggered_by,
            principal, reason, request_id, incident, made)
    SELECT 'start', execution_id, 0, task_name, triggered_by, principal, reason, request_id,
        incident, json_build_object('run_id', execution_id || ':run:0',
                'definition_version', version)
    FROM started
), begun AS MATERIALIZED (
    SELECT * FROM started WHERE zart.expect_epoch(134558950621186, $19)
), steps AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, c.no - 1, 'open', c.deps
    FROM (SELECT * FROM begun) new CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
), roots AS MATERIALIZED (
    SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
        s.timeout_seconds, row_number() OVER (ORDER BY n, s.no) AS n
    FROM asked new CROSS JOIN LATERAL (SELECT * FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(
            d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
    WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
    WHERE s.deps = 0
), ready AS MATERIALIZED (
    SELECT *, 1 AS attempt, 0 AS counted, 0 AS backoff_base, 0 AS delay, 0 AS correction,
        COALESCE(($20::bigint[])[n], 0) AS rule_key,
        COALESCE(($21::text::integer[])[n], 0) AS lessee
    FROM roots WHERE (run_key IN (SELECT run_key FROM begun)) IS TRUE
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
        statement_timestamp() + ($22::float8[])[lessee] * interval '1 second',
        ($22::float8[])[lessee], ($23::text[])[lessee],
        ($24::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
), answered AS (
    INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
    SELECT caller, rpc, answered_id, fingerprint, response, false
    FROM begun
    WHERE answered_id IS NOT NULL
)
SELECT execution_id, execution_key, begun.run_key, statement_timestamp(), step_no, lease_token,
    lease_expires_at
FROM begun LEFT JOIN leased ON leased.run_key = begun.run_key;
