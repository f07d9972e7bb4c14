-- store/supersede.py: lock_current_runs (lock waiting)
-- Lock executions and their current runs; return those that were locked, by execution id.
-- Locks: executions, waiting; runs, waiting.
-- Parameters: execution_ids=$1.
SELECT e.*, n.definition_key AS task_definition_key, r.* FROM (
    SELECT execution_key, execution_id, task_name, created_at AS execution_created_at
    FROM zart.executions WHERE execution_key = ANY(ARRAY(
        SELECT execution_key FROM zart.executions
        WHERE execution_id = ANY($1::text[])))
    ORDER BY execution_key FOR NO KEY UPDATE ) e
CROSS JOIN LATERAL (
    SELECT run_key, execution_key, run_number, definition_key, status, "trigger",
        triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
        completed_at, by_hand, is_current FROM zart.runs
    WHERE runs.execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1 FOR NO KEY UPDATE ) r
LEFT JOIN zart.task_names n ON n.task_name = e.task_name;

-- store/supersede.py: lock_current_runs (lock passing over locked rows)
-- Lock executions and their current runs; return those that were locked, by execution id.
-- Locks: executions, passing over locked rows; runs, passing over locked rows.
-- Parameters: execution_ids=$1.
SELECT e.*, n.definition_key AS task_definition_key, r.* FROM (
    SELECT execution_key, execution_id, task_name, created_at AS execution_created_at
    FROM zart.executions WHERE execution_key = ANY(ARRAY(
        SELECT execution_key FROM zart.executions
        WHERE execution_id = ANY($1::text[])))
    ORDER BY execution_key FOR NO KEY UPDATE SKIP LOCKED) e
CROSS JOIN LATERAL (
    SELECT run_key, execution_key, run_number, definition_key, status, "trigger",
        triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
        completed_at, by_hand, is_current FROM zart.runs
    WHERE runs.execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) r
LEFT JOIN zart.task_names n ON n.task_name = e.task_name;

-- store/supersede.py: find_gone
-- Return those of the executions that there are no more: for good, as keys are used once.
-- Locks: nothing.
SELECT e.execution_key
FROM unnest($1::bigint[]) k(execution_key)
CROSS JOIN LATERAL (SELECT execution_key FROM zart.executions WHERE execution_key = k.execution_key OFFSET 0) e;

-- store/supersede.py: insert_next_runs (insert)
-- Retire current runs that the caller has locked; insert and return the next, by execution key.
-- Locks: runs, current ones that the caller has locked.
-- Parameters: payloads=$1, runs=$2, trigger=$3, kind=$4.
WITH u AS MATERIALIZED (
    SELECT u.*, ($1::text[])[n] AS payload
    FROM json_to_recordset($2::text::json)
        u(n integer, run_key bigint, definition_key bigint, execution_id text, run_number integer, step_name text, rule_id text, task_name text,
                triggered_by text, principal text, reason text, request_id text, incident text,
                batch_id text, replaced json, made json)
), past AS (
    UPDATE zart.runs r SET is_current = false,
        status = CASE WHEN r.completed_at IS NULL THEN 'cancelled' ELSE r.status END,
        error = CASE WHEN r.completed_at IS NULL
        THEN 'superseded by run ' || r.run_number + 1 ELSE r.error END,
        completed_at = COALESCE(r.completed_at, statement_timestamp())
    FROM u WHERE r.run_key = ANY(ARRAY[u.run_key]) AND r.is_current
    RETURNING nextval('zart.runs_run_key_seq') AS next_key, u.n, r.execution_key,
        r.listed_task, r.listed_at, r.run_number, u.definition_key,
        u.triggered_by, u.principal, u.reason,
        COALESCE(u.payload::json,
                CASE WHEN pg_column_size(r.payload) <= 2000 THEN r.payload END) AS payload,
        CASE WHEN u.payload IS NULL AND (
                r.payload IS NULL OR pg_column_size(r.payload) > 2000)
        THEN CASE WHEN r.payload IS NULL THEN r.payload_run_key ELSE r.run_key END
        END AS payload_run_key, r.traceparent
), new AS (
    INSERT INTO zart.runs (run_key, execution_key, listed_task, listed_at,
            run_number, definition_key, "trigger", triggered_by, principal,
            reason, source_run_number, payload, payload_run_key,
            traceparent)
    OVERRIDING SYSTEM VALUE
    SELECT next_key, execution_key, listed_task, listed_at, run_number + 1,
        definition_key, $3::text, triggered_by, principal, reason,
        CASE WHEN $3::text = 'selective_rerun' THEN run_number END, payload,
        payload_run_key, traceparent
    FROM past
    RETURNING run_key, execution_key, run_number, definition_key, status, "trigger",
        triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
        completed_at, by_hand
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT $4::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM u
)
SELECT run_key, execution_key, run_number, definition_key, status, "trigger",
    triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
    completed_at, by_hand FROM new;

-- store/supersede.py: insert_next_runs (insert and begin)
-- Retire current runs that the caller has locked; insert and return the next, by execution key.
-- Locks: pause lock, shared; runs, current ones that the caller has locked.
-- Parameters: payloads=$1, runs=$2, epoch=$3, trigger=$4, kind=$5, rule_keys=$6, lessees=$7,
--   lessee_seconds=$8, lessee_ids=$9, lessee_principals=$10.
WITH now AS MATERIALIZED (SELECT zart.shared_epoch(134558950621186) AS epoch),
u AS MATERIALIZED (
    SELECT u.*, ($1::text[])[n] AS payload
    FROM json_to_recordset($2::text::json)
        u(n integer, run_key bigint, definition_key bigint, execution_id text, run_number integer, step_name text, rule_id text, task_name text,
                triggered_by text, principal text, reason text, request_id text, incident text,
                batch_id text, replaced json, made json) WHERE $3 = (SELECT epoch FROM now)
), past AS (
    UPDATE zart.runs r SET is_current = false,
        status = CASE WHEN r.completed_at IS NULL THEN 'cancelled' ELSE r.status END,
        error = CASE WHEN r.completed_at IS NULL
        THEN 'superseded by run ' || r.run_number + 1 ELSE r.error END,
        completed_at = COALESCE(r.completed_at, statement_timestamp())
    FROM u WHERE r.run_key = ANY(ARRAY[u.run_key]) AND r.is_current
    RETURNING nextval('zart.runs_run_key_seq') AS next_key, u.n, r.execution_key,
        r.listed_task, r.listed_at, r.run_number, u.definition_key,
        u.triggered_by, u.principal, u.reason,
        COALESCE(u.payload::json,
                CASE WHEN pg_column_size(r.payload) <= 2000 THEN r.payload END) AS payload,
        CASE WHEN u.payload IS NULL AND (
                r.payload IS NULL OR pg_column_size(r.payload) > 2000)
        THEN CASE WHEN r.payload IS NULL THEN r.payload_run_key ELSE r.run_key END
        END AS payload_run_key, r.traceparent
), new AS (
    INSERT INTO zart.runs (run_key, execution_key, listed_task, listed_at,
            run_number, definition_key, "trigger", triggered_by, principal,
            reason, source_run_number, payload, payload_run_key,
            traceparent)
    OVERRIDING SYSTEM VALUE
    SELECT next_key, execution_key, listed_task, listed_at, run_number + 1,
        definition_key, $4::text, triggered_by, principal, reason,
        CASE WHEN $4::text = 'selective_rerun' THEN run_number END, payload,
        payload_run_key, traceparent
    FROM past
    RETURNING run_key, execution_key, run_number, definition_key, status, "trigger",
        triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
        completed_at, by_hand
), operations AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
    SELECT $5::text, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
        replaced, made
    FROM u
) , begun AS MATERIALIZED (
    SELECT next_key AS run_key, definition_key, n FROM past
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
        COALESCE(($6::bigint[])[n], 0) AS rule_key,
        COALESCE(($7::text::integer[])[n], 0) AS lessee
    FROM roots
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
        statement_timestamp() + ($8::float8[])[lessee] * interval '1 second',
        ($8::float8[])[lessee], ($9::text[])[lessee],
        ($10::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
)
SELECT run_key, execution_key, run_number, definition_key, status, "trigger",
    triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
    completed_at, by_hand FROM new;
