-- store/enqueue.py: enqueue_ready (enqueue)
-- Queue, pause or lease ready steps, and return the leases.
-- Locks: pause lock, shared.
-- Parameters: lanes=$1, step_names=$2, timeouts=$3, ready_runs=$4, ready_steps=$5, attempts=$6,
--   counted=$7, backoff_bases=$8, max_attempts=$9, delays=$10, rule_keys=$11, kinds=$12,
--   lessees=$13, after=$14, epoch=$15, lessee_seconds=$16, lessee_ids=$17, lessee_principals=$18.
WITH now AS MATERIALIZED (SELECT zart.shared_epoch(134558950621186) AS epoch),
ready AS MATERIALIZED (
    SELECT u.*, ($1::integer[])[kind] AS lane, ($2::text[])[kind] AS step_name,
        ($3::float8[])[kind] AS timeout_seconds
    FROM unnest($4::text::bigint[], $5::text::integer[],
            $6::text::integer[], $7::text::integer[],
            $8::text::integer[], $9::text::integer[],
            $10::text::float8[], $11::text::bigint[], $12::text::integer[],
            $13::text::integer[], $14::text::bigint[])
    WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
            delay, rule_key, kind, lessee, after, n)
    WHERE $15 = (SELECT epoch FROM now)
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ($16::float8[])[lessee] * interval '1 second',
        ($16::float8[])[lessee], ($17::text[])[lessee],
        ($18::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
)
SELECT epoch, leased.* FROM now LEFT JOIN leased ON true;

-- store/enqueue.py: enqueue_ready (enqueue with steps)
-- Queue, pause or lease ready steps, and return the leases.
-- Locks: pause lock, shared.
-- Parameters: preserved_runs=$1, preserved_sources=$2, preserved_steps=$3, epoch=$4, again_runs=$5,
--   again_steps=$6, again_deps=$7, lanes=$8, step_names=$9, timeouts=$10, ready_runs=$11,
--   ready_steps=$12, attempts=$13, counted=$14, backoff_bases=$15, max_attempts=$16, delays=$17,
--   rule_keys=$18, kinds=$19, lessees=$20, after=$21, lessee_seconds=$22, lessee_ids=$23,
--   lessee_principals=$24.
WITH now AS MATERIALIZED (SELECT zart.shared_epoch(134558950621186) AS epoch),
preserved AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
            counted, max_attempts, scheduled_at, started_at, completed_at)
    SELECT u.run_key, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key),
        s.attempt, s.counted, s.max_attempts, s.scheduled_at, s.started_at,
        s.completed_at
    FROM unnest($1::bigint[], $2::bigint[],
            $3::integer[]) u(run_key, source, step_no)
    CROSS JOIN LATERAL (SELECT * FROM zart.steps
        WHERE run_key = u.source AND step_no = u.step_no OFFSET 0) s
    WHERE $4 = (SELECT epoch FROM now)
), again AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, step_no, 'open', deps
    FROM unnest($5::bigint[], $6::integer[], $7::integer[])
        u(run_key, step_no, deps)
    WHERE $4 = (SELECT epoch FROM now)
), ready AS MATERIALIZED (
    SELECT u.*, ($8::integer[])[kind] AS lane, ($9::text[])[kind] AS step_name,
        ($10::float8[])[kind] AS timeout_seconds
    FROM unnest($11::text::bigint[], $12::text::integer[],
            $13::text::integer[], $14::text::integer[],
            $15::text::integer[], $16::text::integer[],
            $17::text::float8[], $18::text::bigint[], $19::text::integer[],
            $20::text::integer[], $21::text::bigint[])
    WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
            delay, rule_key, kind, lessee, after, n)
    WHERE $4 = (SELECT epoch FROM now)
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, nextval('zart.queue_numbers'),
        statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ($22::float8[])[lessee] * interval '1 second',
        ($22::float8[])[lessee], ($23::text[])[lessee],
        ($24::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
)
SELECT epoch, leased.* FROM now LEFT JOIN leased ON true;
