-- store/start_fast.py: start_fast
-- Insert an execution, enqueue its roots and store the incomplete answer to its request.
-- Locks: keys of executions; pause lock, shared; keys of requests.
-- Parameters: execution_id=$1, payload=$2, traceparent=$3, task_name=$4, definition_key=$5,
--   version=$6, triggered_by=$7, principal=$8, reason=$9, operation_request_id=$10, incident=$11,
--   is_leased=$12, caller=$13, rpc=$14, request_id=$15, epoch=$16, rule_keys=$17, lessees=$18,
--   lessee_seconds=$19, lessee_ids=$20, lessee_principals=$21, fingerprint=$22, response=$23.
WITH new AS MATERIALIZED (
    SELECT $1::text AS execution_id, $2::text AS payload,
        $3::text AS traceparent,
        $4::text AS task_name, $5::bigint AS definition_key,
        $6::integer AS version, $7::text AS triggered_by,
        $8::text AS principal, $9::text AS reason,
        $10::text AS request_id, $11::text AS incident,
        $12::boolean AS is_leased, 1 AS n,
        nextval('zart.executions_execution_key_seq') AS execution_key,
        nextval('zart.runs_run_key_seq') AS run_key
    WHERE $5 = (
        SELECT definition_key FROM zart.task_names WHERE task_name = $4)
        AND NOT EXISTS (SELECT FROM zart.requests
            WHERE caller = $13 AND rpc = $14 AND request_id = $15)
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
    SELECT * FROM started WHERE zart.expect_epoch(134558950621186, $16)
), steps AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, c.no - 1, 'open', c.deps
    FROM (SELECT * FROM begun) new CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
), roots AS MATERIALIZED (
    SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
        s.timeout_seconds, row_number() OVER (ORDER BY n, s.no) AS n
    FROM begun new CROSS JOIN LATERAL (SELECT * FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(
            d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
    WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
    WHERE s.deps = 0
), ready AS MATERIALIZED (
    SELECT *, 1 AS attempt, 0 AS counted, 0 AS backoff_base, 0 AS delay, 0 AS correction,
        COALESCE(($17::bigint[])[n], 0) AS rule_key,
        COALESCE(($18::text::integer[])[n], 0) AS lessee
    FROM roots
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ($19::float8[])[lessee] * interval '1 second',
        ($19::float8[])[lessee], ($20::text[])[lessee],
        ($21::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
), answered AS (
    INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
    SELECT $13::text, $14::text, $15::text, $22::bytea,
        $23::bytea, false
    FROM begun
    WHERE $15 IS NOT NULL
)
SELECT execution_id, execution_key, begun.run_key, statement_timestamp(), step_no, lease_token,
    lease_expires_at
FROM begun LEFT JOIN leased ON true;
