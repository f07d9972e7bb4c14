-- store/enqueue.py: enqueue_ready (enqueue)
-- Queue, pause or lease ready steps, and return the leases.
-- Locks: pause lock, shared.
-- Parameters: lanes=$1, step_names=$2, timeouts=$3, corrections=$4, ready_runs=$5, ready_steps=$6,
--   attempts=$7, counted=$8, backoff_bases=$9, max_attempts=$10, delays=$11, rule_keys=$12,
--   kinds=$13, lessees=$14, after=$15, epoch=$16, lessee_seconds=$17, lessee_ids=$18,
--   lessee_principals=$19.
WITH now AS MATERIALIZED (SELECT CASE WHEN set_config('lock_timeout', current_setting('zart.lock_timeout', true), true) IS NOT NULL THEN zart.shared_epoch(134558950621186) END AS epoch),
ready AS MATERIALIZED (
    SELECT u.*, ($1::integer[])[kind] AS lane, ($2::text[])[kind] AS step_name,
        ($3::float8[])[kind] AS timeout_seconds,
        ($4::integer[])[kind] AS correction
    FROM unnest($5::text::bigint[], $6::text::integer[],
            $7::text::integer[], $8::text::integer[],
            $9::text::integer[], $10::text::integer[],
            $11::text::float8[], $12::text::bigint[], $13::text::integer[],
            $14::text::integer[], $15::text::bigint[])
    WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
            delay, rule_key, kind, lessee, after, n)
    WHERE $16 = (SELECT epoch FROM now)
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
        statement_timestamp() + ($17::float8[])[lessee] * interval '1 second',
        ($17::float8[])[lessee], ($18::text[])[lessee],
        ($19::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
)
SELECT epoch, leased.* FROM now LEFT JOIN leased ON true;

-- store/enqueue.py: enqueue_ready (enqueue with steps)
-- Queue, pause or lease ready steps, and return the leases.
-- Locks: pause lock, shared.
-- Parameters: preserved_runs=$1, preserved_sources=$2, preserved_steps=$3, epoch=$4, again_runs=$5,
--   again_steps=$6, again_deps=$7, corrected=$8, lanes=$9, step_names=$10, timeouts=$11,
--   corrections=$12, ready_runs=$13, ready_steps=$14, attempts=$15, counted=$16, backoff_bases=$17,
--   max_attempts=$18, delays=$19, rule_keys=$20, kinds=$21, lessees=$22, after=$23,
--   lessee_seconds=$24, lessee_ids=$25, lessee_principals=$26.
WITH now AS MATERIALIZED (SELECT CASE WHEN set_config('lock_timeout', current_setting('zart.lock_timeout', true), true) IS NOT NULL THEN zart.shared_epoch(134558950621186) END AS epoch),
preserved AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
            counted, max_attempts, scheduled_at, started_at, completed_at,
            correction)
    SELECT u.run_key, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key),
        s.attempt, s.counted, s.max_attempts, s.scheduled_at, s.started_at,
        s.completed_at, s.correction
    FROM unnest($1::bigint[], $2::bigint[],
            $3::integer[]) u(run_key, source, step_no)
    CROSS JOIN LATERAL (SELECT * FROM zart.steps
        WHERE run_key = u.source AND step_no = u.step_no OFFSET 0) s
    WHERE $4 = (SELECT epoch FROM now)
), again AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, correction)
    SELECT run_key, step_no, 'open', deps, CASE WHEN corrected THEN 1 END
    FROM unnest($5::bigint[], $6::integer[], $7::integer[],
            $8::boolean[]) u(run_key, step_no, deps, corrected)
    WHERE $4 = (SELECT epoch FROM now)
), ready AS MATERIALIZED (
    SELECT u.*, ($9::integer[])[kind] AS lane, ($10::text[])[kind] AS step_name,
        ($11::float8[])[kind] AS timeout_seconds,
        ($12::integer[])[kind] AS correction
    FROM unnest($13::text::bigint[], $14::text::integer[],
            $15::text::integer[], $16::text::integer[],
            $17::text::integer[], $18::text::integer[],
            $19::text::float8[], $20::text::bigint[], $21::text::integer[],
            $22::text::integer[], $23::text::bigint[])
    WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
            delay, rule_key, kind, lessee, after, n)
    WHERE $4 = (SELECT epoch FROM now)
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
        statement_timestamp() + ($24::float8[])[lessee] * interval '1 second',
        ($24::float8[])[lessee], ($25::text[])[lessee],
        ($26::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
)
SELECT epoch, leased.* FROM now LEFT JOIN leased ON true;

-- store/enqueue.py: enqueue_ready (enqueue in place)
-- Queue, pause or lease ready steps, and return the leases.
-- Locks: pause lock, shared.
-- Parameters: lanes=$1, step_names=$2, timeouts=$3, corrections=$4, ready_runs=$5, ready_steps=$6,
--   attempts=$7, counted=$8, backoff_bases=$9, max_attempts=$10, delays=$11, rule_keys=$12,
--   kinds=$13, lessees=$14, after=$15, place_times=$16, place_numbers=$17, epoch=$18,
--   lessee_seconds=$19, lessee_ids=$20, lessee_principals=$21.
WITH now AS MATERIALIZED (SELECT CASE WHEN set_config('lock_timeout', current_setting('zart.lock_timeout', true), true) IS NOT NULL THEN zart.shared_epoch(134558950621186) END AS epoch),
ready AS MATERIALIZED (
    SELECT u.*, ($1::integer[])[kind] AS lane, ($2::text[])[kind] AS step_name,
        ($3::float8[])[kind] AS timeout_seconds,
        ($4::integer[])[kind] AS correction
    FROM unnest($5::text::bigint[], $6::text::integer[],
            $7::text::integer[], $8::text::integer[],
            $9::text::integer[], $10::text::integer[],
            $11::text::float8[], $12::text::bigint[], $13::text::integer[],
            $14::text::integer[], $15::text::bigint[], $16::timestamptz[], $17::bigint[])
    WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
            delay, rule_key, kind, lessee, after, place_at, place_no, n)
    WHERE $18 = (SELECT epoch FROM now)
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, COALESCE(NULLIF(place_no, 0), nextval('zart.queue_numbers')),
        COALESCE(place_at, clock_timestamp() + delay * interval '1 second'), clock_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, COALESCE(NULLIF(place_no, 0), nextval('zart.queue_numbers')),
        COALESCE(place_at, clock_timestamp() + delay * interval '1 second'), clock_timestamp(), rule_key
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
)
SELECT epoch, leased.* FROM now LEFT JOIN leased ON true;
